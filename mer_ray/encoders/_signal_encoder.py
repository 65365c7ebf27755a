"""Encoders that compute on the samples of one sound at a time, in frames of 25 ms."""

from abc import abstractmethod
from collections.abc import Sequence

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, EncoderInput, Features, FloatArray
from mer_ray.encoders._base import Encoder
from mer_ray.encoders._spectral_frames import FRAME_SAMPLES


class SignalEncoder(Encoder):
    """Sound in, features of each sound alone out; no network, no batch."""

    def check(self, clip_input: EncoderInput) -> None:
        """Refuse what the format refuses, and sound shorter than one frame."""
        super().check(clip_input)
        if isinstance(clip_input, Audio) and len(clip_input.samples) < FRAME_SAMPLES:
            raise EncoderError(
                f"{self.name}: the sound has {len(clip_input.samples)} samples; at least {FRAME_SAMPLES} (25 ms at 16 kHz) are needed"
            )

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        return [self._encode_sound(clip_input.samples) for clip_input in inputs if isinstance(clip_input, Audio)]

    @abstractmethod
    def _encode_sound(self, samples_S: FloatArray) -> Features:
        """Features of one sound: samples (S,) in [-1, 1]."""
