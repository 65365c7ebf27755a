"""A plug-in that keeps its contract: the loudness of sound in frames of 20 ms."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features, FloatArray
from mer_ray.encoders import Encoder, EncoderConfig, pool_features

FRAME_SAMPLES = 320


class LoudnessConfig(EncoderConfig):
    name: str = "loudness"
    floor_db: float = Field(-80.0, lt=0)

    @property
    def input_format(self) -> AudioFormat:
        return AudioFormat(16_000)

    @property
    def frame_s(self) -> float:
        return 0.02

    def layers(self) -> dict[str, int]:
        return {"level": 1, "change": 2}

    def build(self, device: str) -> "LoudnessEncoder":
        return LoudnessEncoder(self)


class LoudnessEncoder(Encoder):
    def __init__(self, config: LoudnessConfig) -> None:
        super().__init__(config)
        self.floor = 10 ** (config.floor_db / 10)

    def check(self, clip_input: EncoderInput) -> None:
        super().check(clip_input)
        if isinstance(clip_input, Audio) and len(clip_input.samples) < FRAME_SAMPLES:
            raise EncoderError(f"{self.name}: {len(clip_input.samples)} samples; at least {FRAME_SAMPLES} (20 ms) are needed")

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        return [self._encode_sound(clip_input.samples) for clip_input in inputs if isinstance(clip_input, Audio)]

    def _encode_sound(self, samples_S: FloatArray) -> Features:
        frames_TS = samples_S[: len(samples_S) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        level_T = 10 * np.log10(np.square(frames_TS, dtype=np.float64).mean(axis=1) + self.floor)
        change_T = np.diff(level_T, prepend=level_T[0])
        frames = {"level": level_T[:, None], "change": np.stack([change_T, np.abs(change_T)], axis=1)}
        return pool_features(frames, len(frames_TS), 0.02, self.sequences, self.rate_hz)
