from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import EncoderInput, Features, FloatArray, TextFormat
from mer_ray.encoders import Encoder, EncoderConfig, encoder_identity
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.spectral import SpectralConfig


class LengthConfig(EncoderConfig):
    """An encoder whose output a test decides."""

    name: Literal["length"] = "length"
    output: tuple[float, ...] = (1.0, 2.0)

    @property
    def input_format(self) -> TextFormat:
        return TextFormat()

    @property
    def frame_s(self) -> float:
        return 0.5

    def layers(self) -> dict[str, int]:
        return {"length": 2}

    def build(self, device: str) -> Encoder:
        return LengthEncoder(self)


class LengthEncoder(Encoder):
    def __init__(self, config: LengthConfig) -> None:
        super().__init__(config)
        self.vector: FloatArray = np.array(config.output, dtype=np.float32)

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        return [Features(1, 0.5, {"length": self.vector}, {"length": np.zeros(2, dtype=np.float32)}) for _ in inputs]


class NewerLengthConfig(LengthConfig):
    algorithm_version: ClassVar[int] = 2


def test_features_as_declared_pass() -> None:
    assert LengthConfig().build("cpu").encode(["a"])[0].mean["length"].tolist() == [1, 2]


def test_features_of_another_size_are_an_error_of_the_encoder() -> None:
    with pytest.raises(EncoderError, match=r"mean has layers \{'length': 3\}, but \{'length': 2\} are declared"):
        LengthConfig(output=(1, 2, 3)).build("cpu").encode(["a"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_an_error(value: float) -> None:
    with pytest.raises(EncoderError, match="mean of length is not finite"):
        LengthConfig(output=(1, value)).build("cpu").encode(["a"])


def test_another_algorithm_is_another_identity() -> None:
    assert encoder_identity(NewerLengthConfig()) != encoder_identity(LengthConfig())


def test_a_rate_may_equal_the_encoders_own() -> None:
    LengthConfig(sequences=("length",), rate_hz=2.0).check()
    with pytest.raises(ConfigError, match="above the encoder's own 2 frames a second"):
        LengthConfig(sequences=("length",), rate_hz=2.1).check()


def test_layers_of_the_whole_clip_have_no_sequence() -> None:
    with pytest.raises(ConfigError, match=r"no layer 'intonation'\. Allowed: logmel,"):
        SpectralConfig(sequences=("mfcc", "intonation")).check()
    with pytest.raises(ConfigError, match="one vector per clip"):
        HashingConfig(sequences=("word_1_256",)).check()


def test_evenly_spaced_frames_have_no_rate_to_average_to() -> None:
    with pytest.raises(ConfigError, match="set frame_rate_hz instead of num_frames"):
        GradientConfig(sequences=("hog_fine",), rate_hz=1.0).check()


@pytest.mark.parametrize("rate_hz", [0, -1, float("nan"), float("inf")])
def test_impossible_rates_are_config_errors(rate_hz: float) -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        parse_config(SpectralConfig, {"sequences": ["mfcc"], "rate_hz": rate_hz}, "job.yaml")
