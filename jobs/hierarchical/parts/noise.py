"""An encoder that tells nothing: noise drawn from the sound's own bytes, the same each time, in the size of a real layer."""

import hashlib

import numpy as np

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import AudioFormat
from mer_ray.encoders import Encoder, EncoderConfig, pool_features

SAMPLE_RATE_HZ = 16_000
NUM_FRAMES = 1


class NoiseConfig(EncoderConfig):
    name: str = "noise"
    dim: int = 64

    @property
    def input_format(self):
        return AudioFormat(SAMPLE_RATE_HZ)

    @property
    def frame_s(self):
        return None

    def layers(self):
        return {"noise": self.dim}

    def sequence_layers(self):
        return ()

    def build(self, device):
        return NoiseEncoder(self)


class NoiseEncoder(Encoder):
    def __init__(self, config):
        super().__init__(config)
        self.dim = config.dim

    def check(self, clip_input):
        super().check(clip_input)
        if not len(clip_input.samples):
            raise EncoderError(f"{self.name}: the sound has no samples; at least 1 is needed")

    def _encode(self, inputs):
        return [self._encode_sound(sound.samples) for sound in inputs]

    def _encode_sound(self, samples):
        seed = int.from_bytes(hashlib.sha256(samples.tobytes()).digest()[:8])
        noise_ND = np.random.default_rng(seed).standard_normal((NUM_FRAMES, self.dim)).astype(np.float32)
        return pool_features({"noise": noise_ND}, NUM_FRAMES, 0.0, self.sequences, self.rate_hz)
