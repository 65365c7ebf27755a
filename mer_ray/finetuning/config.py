"""The config of `mer-ray finetune`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import AnyEncoder
from mer_ray.encoders._frame_choice import FrameEncoderConfig
from mer_ray.finetuning.augmentation import AugmentConfig
from mer_ray.finetuning.methods import AnyMethod, LoraConfig
from mer_ray.objectives import ClassWeights, metric_names
from mer_ray.training.config import LARGEST_SEED, LOSS, EarlyStopping, FoldsProtocol, SplitsProtocol, ValueName


class CrossFittedSplits(SplitsProtocol):
    """The manifest's splits; the clips of the training split are cross-fitted by `num_folds` folds of their own, disjoint in speakers."""

    num_folds: int = Field(5, ge=2)


class FinetuneConfig(Config):
    """A fine-tuning: an encoder with a linear head over the mean of its last hidden state's real frames, trained on labelled clips.

    Each fold is encoded by an adapter that was not trained on its labels; clips without a fold, and new ones, by one trained on all.
    `method`: `lora`, the last `count` blocks (`last_layers`), or `all` weights; the head learns at `head_learning_rate`.

    `frames_per_clip` of a clip's frames are drawn anew each epoch (evenly spaced ones predict), `augment` changes them; a sound is a
    random piece of at most `max_audio_s` seconds, its middle predicts. `precision: bfloat16` is autocast; LoRA leaves the frozen weights
    in the encoder's own `compute` type, the other methods train float32 weights. `accumulate` computes a batch in parts.

    Clips are decoded once; `cache_gb` bounds what is kept on disk, the rest is decoded again each epoch. `num_workers` > 1 trains through
    Ray Train with DDP. A checkpoint is written at most every `checkpoint_interval_s`.
    """

    manifest: Path = where_or_how_fast()
    out: Path = where_or_how_fast()
    encoder: AnyEncoder
    method: AnyMethod = LoraConfig()
    protocol: Annotated[FoldsProtocol | CrossFittedSplits, Field(discriminator="name")] = FoldsProtocol()
    values: list[ValueName] = Field([])
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    epochs: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(16, ge=1, le=1_000_000)
    accumulate: int = Field(1, ge=1, le=100_000)
    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(1e-4, gt=0, allow_inf_nan=False)
    head_learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of all steps in which the learning rate rises from 0")
    weight_decay: float = Field(1e-2, ge=0, allow_inf_nan=False)
    gradient_clip: float | None = Field(1.0, gt=0, allow_inf_nan=False)
    class_weights: ClassWeights = "none"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    value_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    head_dropout: float = Field(0.1, ge=0, lt=1)
    frames_per_clip: int = Field(4, ge=1, le=10_000)
    augment: AugmentConfig | None = None
    max_audio_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    early_stopping: EarlyStopping | None = None
    max_failure_rate: float = where_or_how_fast(0.05, ge=0.0, le=1.0)
    limits: MediaLimits = where_or_how_fast(MediaLimits())
    num_workers: int = where_or_how_fast(1, ge=1, le=10_000)
    max_failures: int = where_or_how_fast(3, ge=0, le=10_000)
    device: Literal["auto", "cpu", "cuda"] = where_or_how_fast("auto")
    precision: Literal["auto", "float32", "bfloat16"] = where_or_how_fast("auto")
    gradient_checkpointing: bool = where_or_how_fast(False)
    cache_gb: float = where_or_how_fast(20.0, ge=0, allow_inf_nan=False)
    checkpoint_interval_s: float = where_or_how_fast(60.0, ge=0, allow_inf_nan=False)

    @property
    def worker_range(self) -> tuple[int, int]:
        """As many as are asked for."""
        return self.num_workers, self.num_workers

    @property
    def adapter_folder(self) -> Path:
        """What an encoder of `extract` is given as `adapter`."""
        return self.out / "adapter"

    @property
    def with_head_rate(self) -> Self:
        """The same with the head's learning rate."""
        return self.model_copy(update={"learning_rate": self.head_learning_rate})

    @field_validator("values")
    @classmethod
    def _refuse_doubles(cls, listed: list[Any]) -> list[Any]:
        if len(set(listed)) < len(listed):
            raise ValueError("names one twice")
        return listed

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.early_stopping is not None:
            allowed = (*metric_names(self.values), LOSS)
            if self.early_stopping.metric not in allowed:
                raise ValueError(
                    f"early_stopping.metric: {self.early_stopping.metric!r} is not a metric of this task; allowed: {', '.join(allowed)}"
                )
            if not self.protocol.has_dev:
                raise ValueError("early_stopping needs a dev set; set protocol.dev (next_fold, or a split), or early_stopping: null")
        if isinstance(self.protocol, FoldsProtocol) and self.protocol.test_folds is not None:
            raise ValueError("protocol.test_folds: each fold needs an adapter that was trained without it; leave it out")
        if self.encoder.degrade is not None:
            raise ValueError("encoder.degrade: adapters are trained on media as they are; leave it out")
        if getattr(self.encoder, "adapter", None) is not None:
            raise ValueError("encoder.adapter: an adapter is what comes out; give the encoder without one")
        # Not by its modality: a job's steps are read before their weights are there.
        if self.augment is not None and not isinstance(self.encoder, FrameEncoderConfig):
            raise ValueError(f"augment: changes pictures, which {self.encoder.name} does not read; leave it out")
        return self
