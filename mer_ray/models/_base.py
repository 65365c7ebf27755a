"""What every fusion model is: Batch -> Predictions, trained in one or several steps per batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.core.config import Config
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import MODALITIES, Modality


@dataclass(frozen=True)
class TrainStep:
    """One of the steps that a model takes on every batch, with a loss of its own.

    The optimisers of `parts` move; only clips that have a stream of each modality of `needs` take part. `reconstructs`: the streams
    whose reconstruction is part of the loss.
    """

    name: str
    parts: tuple[str, ...]
    needs: tuple[Modality, ...] = ()
    reconstructs: tuple[str, ...] = ()


class FusionModel(nn.Module, ABC):
    """A network over streams; it must predict for any clip, also for one that lacks every stream.

    `reconstruction_weight` is the factor of reconstruction errors in the loss.
    """

    steps: tuple[TrainStep, ...] = (TrainStep("all", ("model",)),)
    reconstruction_weight: float = 1.0

    def __init__(self, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.task = task

    @abstractmethod
    def forward(self, batch: Batch) -> Predictions:
        """Predict; every parameter takes part in every call, whatever is missing."""

    def forward_step(self, batch: Batch, step: str) -> Predictions:
        """The predictions that a training step's loss is about; every parameter of its parts takes part in every call."""
        predictions: Predictions = self(batch)
        return predictions

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The parameters by the optimiser that moves them, each in one part."""
        return {"model": self.parameters()}

    def start_from(self, class_means: Mapping[str, Tensor]) -> None:
        """Told before training what the training clips' values are, mean by class: float32 (C,), NaN for a class without any."""

    def learnt(self) -> dict[str, Any]:
        """Plain values (numbers, lists, mappings by name) that the report shows of a trained model."""
        return {}


class FusionModelConfig(Config, ABC):
    """Base of the configs of models; each of the package adds `name`, the tag of its family.

    `modalities`: what a model can read; `reads_frames` and `reads_pooled`: whether it takes streams of frames, and pooled ones.
    """

    modalities: ClassVar[tuple[Modality, ...]] = MODALITIES
    reads_frames: ClassVar[bool] = False
    reads_pooled: ClassVar[bool] = True

    @abstractmethod
    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> FusionModel:
        """The model, with random weights."""

    def check_streams(self, streams: Sequence[StreamSpec]) -> None:
        """Refuse streams that the model does not read, before any are read.

        Raises:
            ConfigError: names them.

        """
        name = getattr(self, "name", type(self).__name__)
        foreign = [f"{spec.name} ({spec.modality})" for spec in streams if spec.modality not in self.modalities]
        if foreign:
            raise ConfigError(f"inputs: {', '.join(foreign)}: model {name} reads {', '.join(self.modalities)} only; leave them out")
        frames = [spec.name for spec in streams if spec.is_sequence and not self.reads_frames]
        if frames:
            raise ConfigError(f"inputs: {', '.join(frames)}: model {name} reads pooled streams only; leave out `frames: true`")
        pooled = [spec.name for spec in streams if not spec.is_sequence and not self.reads_pooled]
        if pooled:
            raise ConfigError(f"inputs: {', '.join(pooled)}: model {name} reads frames only; set `frames: true`")
