"""What every fusion model is: Batch -> Predictions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.core.config import Config


class FusionModel(nn.Module, ABC):
    """A network over streams; it must predict for any clip, also for one that lacks every stream."""

    def __init__(self, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.task = task

    @abstractmethod
    def forward(self, batch: Batch) -> Predictions:
        """Predict; every parameter takes part in every call, whatever is missing."""


class FusionModelConfig(Config, ABC):
    """Base of the configs of models; each of the package adds `name`, the tag of its family."""

    @abstractmethod
    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> FusionModel:
        """The model, with random weights."""
