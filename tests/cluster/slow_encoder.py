"""A plug-in that takes its time with each clip, so that a test can come in between, until the file `quick_once` is there."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, Features
from mer_ray.encoders import Encoder, EncoderConfig, pool_features

FRAME_SAMPLES = 320


class SlowConfig(EncoderConfig):
    name: str = "slow"
    seconds_per_clip: float = 3.0
    quick_once: str

    @property
    def input_format(self) -> AudioFormat:
        return AudioFormat(16_000)

    @property
    def frame_s(self) -> float:
        return 0.02

    def layers(self) -> dict[str, int]:
        return {"level": 1}

    def build(self, device: str) -> "SlowEncoder":
        return SlowEncoder(self)


class SlowEncoder(Encoder):
    def __init__(self, config: SlowConfig) -> None:
        super().__init__(config)
        self.seconds_per_clip, self.quick_once = config.seconds_per_clip, Path(config.quick_once)

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        return [self._encode_sound(clip_input) for clip_input in inputs if isinstance(clip_input, Audio)]

    def _encode_sound(self, sound: Audio) -> Features:
        if not self.quick_once.exists():
            time.sleep(self.seconds_per_clip)
        frames_TS = sound.samples[: len(sound.samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        return pool_features({"level": np.abs(frames_TS).mean(axis=1, keepdims=True)}, len(frames_TS), 0.02, self.sequences, self.rate_hz)
