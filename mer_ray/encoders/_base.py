"""What every encoder is: a config with an identity, and an object that turns decoded clips into features.

Shapes: T frames, D feature dimension of a layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from mer_ray.core.config import Config, identity_fields, identity_of, where_or_how_fast
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features, FrameFormat, Frames, InputFormat, Modality


@dataclass(frozen=True)
class Checkpoint:
    """One published set of weights, for `mer-ray encoders`: what it costs, gives and allows. `num_parameters` counts all of its file."""

    weights: str
    num_parameters: int
    dim: int
    num_layers: int
    licence: str
    source: str


class EncoderConfig(Config, ABC):
    """What all encoders are asked: the layers whose frames are kept, their rate, the type of stored values, and what media suffer first.

    `degrade` makes a copy of the encoder that reads noisy sound, blurred frames or nothing; it has an identity of its own.
    """

    # Raised when the same config gives other features, so that a store never mixes the two.
    algorithm_version: ClassVar[int] = 1
    # Weights that the recipes or the field use with this encoder; none where there are no weights.
    checkpoints: ClassVar[tuple[Checkpoint, ...]] = ()

    name: str
    sequences: tuple[str, ...] = ()
    rate_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    dtype: Literal["float16", "float32"] = "float16"
    # Not as a field: the identities of encoders without it stay what they were (see `encoder_identity`).
    degrade: DegradationConfig | None = where_or_how_fast(None)

    @property
    def stored_name(self) -> str:
        """What the store and streams call the encoder."""
        return self.name

    @property
    def modality(self) -> Modality:
        """What the encoder reads: `audio`, `vision` or `text`."""
        return self.input_format.modality

    @property
    @abstractmethod
    def input_format(self) -> InputFormat:
        """What the encoder takes."""

    @property
    def wanted_format(self) -> InputFormat:
        """What a decoder must give: `input_format`, with the degradation in it that concerns it."""
        return replace(self.input_format, degrade=self.degradation)

    @property
    def degradation(self) -> DegradationConfig | None:
        """What of `degrade` concerns the encoder's modality."""
        return None if self.degrade is None else self.degrade.of(self.modality)

    def degraded(self, degrade: DegradationConfig | None) -> Self:
        """The same encoder for media that are degraded so; None: for media as they are."""
        return self.model_copy(update={"degrade": degrade})

    @property
    @abstractmethod
    def frame_s(self) -> float | None:
        """Seconds from one frame to the next; None where each clip has its own (`Features.frame_s`)."""

    @property
    def licence(self) -> str:
        """The licence of the weights, or of this code where there are none."""
        return "Apache-2.0"

    @abstractmethod
    def layers(self) -> dict[str, int]:
        """All layers in order with their dimension D, read without loading weights."""

    def sequence_layers(self) -> tuple[str, ...]:
        """The layers whose frames can be kept; all, unless an encoder has layers that describe a clip as a whole."""
        return tuple(self.layers())

    def weights_digest(self) -> str | None:
        """The sha256 of the files that decide the features; None for encoders without weights."""
        return None

    def num_weight_bytes(self) -> int:
        """Memory that the weights take in the compute type: what a plan counts before any are loaded."""
        return 0

    def held_out_folds(self) -> dict[str, int]:
        """By clip_id the manifest's fold whose adapter encodes it, where adapters were fitted by folds."""
        return {}

    @property
    def frames_are_independent(self) -> bool:
        """Whether a frame's features depend on nothing but the frame, so that a long clip may come in pieces."""
        return False

    @property
    def spreads_over_gpus(self) -> bool:
        """Whether one model may take several GPUs."""
        return False

    @abstractmethod
    def build(self, device: str) -> "Encoder":
        """The encoder, ready to encode on `device` (`cpu`, `cuda`, `cuda:1`).

        Raises:
            ConfigError: `sequences` or `rate_hz` ask for what the encoder does not have.
            EncoderError: weights are missing or do not fit.

        """

    def check(self) -> None:
        """Find what a type cannot: layers that do not exist, a rate above the encoder's own.

        Raises:
            ConfigError: with the allowed layers or rates.

        """
        if self.degrade is not None and self.degradation is None:
            raise ConfigError(
                f"encoder {self.name}: degrade: {self.degrade.describe()} does not concern {self.modality}, which it reads; leave it out"
            )
        allowed = self.sequence_layers()
        unknown = [layer for layer in self.sequences if layer not in allowed]
        if unknown and not allowed:
            raise ConfigError(f"encoder {self.name}: sequences: it gives one vector per clip, so there are no frames to keep")
        if unknown:
            raise ConfigError(f"encoder {self.name}: sequences: no layer {', '.join(map(repr, unknown))}. Allowed: {', '.join(allowed)}")
        if self.rate_hz is None:
            return
        if not self.sequences:
            raise ConfigError(f"encoder {self.name}: rate_hz averages the frames of `sequences`, but no sequences are asked for")
        if self.frame_s is None:
            raise ConfigError(f"encoder {self.name}: rate_hz needs frames at a fixed rate: set frame_rate_hz instead of num_frames")
        if self.rate_hz * self.frame_s > 1:
            raise ConfigError(
                f"encoder {self.name}: rate_hz {self.rate_hz:g} is above the encoder's own {1 / self.frame_s:g} frames a second"
            )


class WeightChoice(ABC):
    """Several sets of weights for one network, of which each clip has its own."""

    @abstractmethod
    def name_for(self, clip_id: str) -> str:
        """The set that encodes a clip."""

    @abstractmethod
    def use(self, name: str) -> None:
        """Give the network the weights of a set."""

    @abstractmethod
    def more_layers(self) -> dict[str, int]:
        """Layers that the sets add to the encoder's own, with their dimension."""

    @abstractmethod
    def extended(self, features: Features) -> Features:
        """Features of the set in use, with these layers."""


class Encoder(ABC):
    """Turns decoded clips into features; a clip's features depend on nothing but the clip.

    `weight_choice` where the clip decides on the weights, None where there is one set; until another is used it is that for new clips.
    """

    weight_choice: WeightChoice | None = None

    def __init__(self, config: EncoderConfig) -> None:
        config.check()
        self.name = config.name
        self.sequences = config.sequences
        self.rate_hz = config.rate_hz
        self.layers: dict[str, int] = config.layers()
        self.input_format: InputFormat = config.input_format
        self.modality: Modality = config.modality
        self.frame_s: float | None = config.frame_s
        self.licence: str = config.licence

    def encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        """Features of each clip, in order: per layer the mean and deviation over its real frames, float32 (D,).

        Raises:
            EncoderError: an input that `check` refuses, or features that break the encoder's own contract.

        """
        for clip_input in inputs:
            self.check(clip_input)
        results = self._encode(inputs)
        for features in results:
            self._check_features(features)
        return results if self.weight_choice is None else [self.weight_choice.extended(features) for features in results]

    @property
    def stored_layers(self) -> dict[str, int]:
        """What the features have: those of a choice of weights first, so that the last layers are the network's."""
        return self.layers if self.weight_choice is None else {**self.weight_choice.more_layers(), **self.layers}

    def check(self, clip_input: EncoderInput) -> None:
        """Refuse an input of the wrong kind, of another format, with no content or not finite.

        Raises:
            EncoderError: what is wrong and what is needed.

        """
        wanted = self.input_format
        if isinstance(wanted, AudioFormat):
            if not isinstance(clip_input, Audio) or clip_input.sample_rate_hz != wanted.sample_rate_hz:
                raise EncoderError(f"{self.name} reads mono sound at {wanted.sample_rate_hz} Hz, not {_describe(clip_input)}")
            if not np.isfinite(clip_input.samples).all():
                raise EncoderError(f"{self.name}: the sound holds samples that are not finite; decode the file again")
        elif isinstance(wanted, FrameFormat):
            if not isinstance(clip_input, Frames) or clip_input.images.shape[1:] != (wanted.size, wanted.size, 3):
                raise EncoderError(f"{self.name} reads RGB frames of {wanted.size} x {wanted.size}, not {_describe(clip_input)}")
            if len(clip_input.images) == 0:
                raise EncoderError(f"{self.name}: the clip has no frames; at least 1 is needed")
        elif not isinstance(clip_input, str):
            raise EncoderError(f"{self.name} reads a sentence, not {_describe(clip_input)}")

    def padding(self) -> tuple[int, int]:
        """Units (samples, frames, tokens) that went through a network so far, without and with padding."""
        return 0, 0

    @abstractmethod
    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        """Features of checked inputs, in order."""

    def _check_features(self, features: Features) -> None:
        for statistic, values in (("mean", features.mean), ("std", features.std)):
            dims = {layer: len(vector_D) for layer, vector_D in values.items()}
            if dims != self.layers:
                raise EncoderError(f"{self.name}: {statistic} has layers {dims}, but {self.layers} are declared")
            broken = [layer for layer, vector_D in values.items() if not np.isfinite(vector_D).all()]
            if broken:
                raise EncoderError(f"{self.name}: {statistic} of {', '.join(broken)} is not finite; the clip cannot be encoded")
        broken = [layer for layer, frames_TD in features.sequences.items() if not np.isfinite(frames_TD).all()]
        if broken:
            raise EncoderError(f"{self.name}: frames of {', '.join(broken)} are not finite; the clip cannot be encoded")


def _describe(clip_input: EncoderInput) -> str:
    if isinstance(clip_input, Audio):
        return f"sound at {clip_input.sample_rate_hz} Hz"
    if isinstance(clip_input, Frames):
        return f"frames of shape {' x '.join(map(str, clip_input.images.shape))}"
    return f"{type(clip_input).__name__}"


def encoder_identity(config: EncoderConfig) -> str:
    """The sha256 (hex) of what decides the features: identity fields, algorithm version, weights, degradation; never a path or device."""
    more = {} if config.degradation is None else {"degrade": identity_fields(config.degradation)}
    return identity_of(config, algorithm_version=config.algorithm_version, weights_digest=config.weights_digest(), **more)


def encoder_key(config: EncoderConfig) -> str:
    """The folder of an encoder in a store: `<stored name>@<first 8 hex digits of its identity>`."""
    return f"{config.stored_name}@{encoder_identity(config)[:8]}"


def network_key(config: EncoderConfig) -> str:
    """The key of the same encoder without its degradation: those that share it are one network for several kinds of media."""
    return encoder_key(config.degraded(None))
