"""Inputs that show what an encoder does: clips of different lengths, clips at the edge of what is legal, clips that are not.

Shapes: T samples, N frames.
"""

from dataclasses import dataclass

import numpy as np

from mer_ray.core.media_types import Audio, AudioFormat, EncoderInput, FrameFormat, Frames, InputFormat

SENTENCES = ("I told you so!", "why would you do that", "我今天真的很高兴", "why would you do that to her, of all people?")


@dataclass(frozen=True)
class ContractInputs:
    """`usual` clips have features that differ; `hostile` ones have finite features; `odd` ones have finite features or are refused."""

    usual: tuple[EncoderInput, ...]
    hostile: tuple[EncoderInput, ...] = ()
    odd: tuple[EncoderInput, ...] = ()


def inputs_for(wanted: InputFormat) -> ContractInputs:
    """Inputs of a format."""
    if isinstance(wanted, AudioFormat):
        return _sounds(wanted.sample_rate_hz)
    return _frames(wanted.size) if isinstance(wanted, FrameFormat) else _sentences()


def make_sound(seconds: float, pitch_hz: float, seed: int, sample_rate_hz: int = 16_000) -> Audio:
    """Harmonics of a gliding pitch in syllables, with a little noise."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * times_s))) / sample_rate_hz
    tone = sum(np.sin(number * phase) / number for number in range(1, 12))
    loudness = 0.1 * (1.1 + np.sin(2 * np.pi * 4 * times_s))
    samples = loudness * tone + 0.003 * rng.standard_normal(len(times_s))
    return Audio(np.clip(samples, -1, 1).astype(np.float32), sample_rate_hz)


def make_frames(num_frames: int, seed: int, size: int = 128) -> Frames:
    """A bright disc that moves over a textured ground."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (size, size, 3))
    row, column = np.mgrid[:size, :size] * (128 / size)
    images = []
    for number in range(num_frames):
        is_disc = (row - 40 - 2 * number) ** 2 + (column - 60 - number) ** 2 < 20**2
        images.append(np.where(is_disc[..., None], 230, ground))
    return Frames(np.array(images, dtype=np.uint8), np.arange(num_frames, dtype=np.float64) * 0.2)


def still_frames(brightness: int, size: int = 128) -> Frames:
    """Three equal frames of one brightness."""
    return Frames(np.full((3, size, size, 3), brightness, dtype=np.uint8), np.arange(3, dtype=np.float64) * 0.2)


def _sounds(sample_rate_hz: int) -> ContractInputs:
    usual = tuple(
        make_sound(seconds, pitch_hz, seed, sample_rate_hz)
        for seed, (seconds, pitch_hz) in enumerate(((1.3, 120), (0.4, 210), (2.2, 95), (1.7, 300)))
    )
    num_samples = sample_rate_hz // 2
    tone_T = np.sin(2 * np.pi * 1000 * np.arange(num_samples) / sample_rate_hz)
    hostile = (np.zeros(num_samples), np.ones(num_samples), np.tile([1.0, -1.0], num_samples // 2), tone_T, 1e-20 * tone_T)
    return ContractInputs(
        usual,
        tuple(Audio(samples_T.astype(np.float32), sample_rate_hz) for samples_T in hostile),
        tuple(Audio(usual[0].samples[:num_samples], sample_rate_hz) for num_samples in (1, 160, 400, 721)),
    )


def _frames(size: int) -> ContractInputs:
    usual = tuple(make_frames(num_frames, num_frames, size) for num_frames in (4, 1, 9, 6))
    return ContractInputs(usual, (still_frames(200, size), still_frames(0, size)), (make_frames(1, 0, size), make_frames(2, 0, size)))


def _sentences() -> ContractInputs:
    return ContractInputs(SENTENCES, ("a" * 500, "?!…", "z"), ("", "   ", "\x00", "🙂🙂", "é ﬁ ①", "a" * 20_000))
