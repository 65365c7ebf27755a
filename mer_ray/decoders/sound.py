"""Packets of sound to mono samples on the clip's time axis.

Shapes: C channels, T samples.
"""

from functools import lru_cache
from math import ceil, gcd, inf
from typing import cast

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from torchaudio.transforms import Resample

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.container import explain_errors
from mer_ray.decoders.timeline import tick_s

# Recorders jitter and containers round: within this the samples follow one another, beyond it there is a pause.
_EXACT_JITTER_S = 0.01
_ROUNDED_JITTER_S = 0.1
# An FFmpeg frame points to eight planes at most; PyAV reads past them and crashes the process.
_MAX_PLANES = 8
# The kernel of torchaudio's resampler has the product of the reduced rates as its size: rates without a common divisor go to FFmpeg's.
_MAX_REDUCED_RATE_HZ = 2000


class Sound:
    """Collects one stream's sound between two times of the clip, mixed to mono as it comes.

    `zero_s` is the container time of the clip's second 0. Sample n lies at `start_s + n / rate`: where the stream begins later or pauses
    there is silence. The sound ends where its stream does.
    """

    def __init__(self, name: str, stream: AudioStream, zero_s: float, start_s: float, end_s: float, budget: Budget) -> None:
        self._name, self._zero_s, self._budget = name, zero_s, budget
        self._start_s, self._end_s = start_s, end_s
        self._context = stream.codec_context
        self._context.thread_count = 1
        self._rate_hz = 0
        # Positions count native samples from second 0: the segment's bounds, what is collected so far, where the next frame belongs.
        self._first = 0
        self._last: float = inf
        self._collected = 0
        self._next: int | None = None
        self._chunks: list[FloatArray] = []
        self._stream_end_s = 0.0
        self._tick_s = tick_s(stream)
        self._to_float: tuple[tuple[str, str], av.AudioResampler] | None = None

    def add(self, packet: "Packet[AudioStream]") -> None:
        """Decode one packet.

        Raises:
            MediaError: damaged sound, a clock that jumps back, or beyond the budget.

        """
        where = ""
        if packet.pts is not None:
            begin_s = packet.pts * self._tick_s - self._zero_s
            where = f" at {begin_s:.2f} s"
            self._stream_end_s = max(self._stream_end_s, begin_s + (packet.duration or 0) * self._tick_s)
        with explain_errors(self._name, f" in its sound{where}"):
            frames = packet.decode()
        for frame in frames:
            self._place(frame)

    def finish(self) -> Audio:
        """Drain the decoder and join: mono float32 (T,) at the native rate.

        Raises:
            MediaError: no samples, or samples that are not numbers.

        """
        with explain_errors(self._name, " at the end of its sound"):
            frames = self._context.decode(None)
        for frame in frames:
            self._place(frame)
        num_samples = self._collected - self._first - self._num_padded()
        if num_samples <= 0:
            between = "" if self._start_s == 0 and self._end_s == inf else f" between {self._start_s:g} s and {self._end_s:g} s"
            raise MediaError(f"{self._name}: the sound has no samples{between}")
        samples_T = np.concatenate(self._chunks)[:num_samples]
        finite_T = np.isfinite(samples_T)
        if not finite_T.all():
            where_s = self._start_s + int(np.argmin(finite_T)) / self._rate_hz
            raise MediaError(f"{self._name}: the sound at {where_s:.2f} s is not a number (NaN or infinite); export the file again")
        return Audio(samples_T, self._rate_hz)

    @property
    def _has_exact_clock(self) -> bool:
        """Whether the container counts samples; Matroska and FLV count milliseconds."""
        return self._tick_s * self._rate_hz < 1.001

    def _num_padded(self) -> int:
        """Samples behind the stream's end: codecs fill their last frame, and a container with exact times knows how far it is sound."""
        if not self._chunks or not self._has_exact_clock:
            return 0
        excess = self._collected - round(self._stream_end_s * self._rate_hz)
        return max(0, excess) if excess < len(self._chunks[-1]) else 0

    def _place(self, frame: AudioFrame) -> None:
        if self._next is None:
            self._rate_hz = frame.sample_rate
            self._first = self._collected = round(self._start_s * self._rate_hz)
            self._last = inf if self._end_s == inf else round(self._end_s * self._rate_hz)
        elif frame.sample_rate != self._rate_hz:
            raise MediaError(f"{self._name}: the sound changes from {self._rate_hz} to {frame.sample_rate} Hz; convert the file")
        position = self._position(frame)
        self._next = position + frame.samples
        begin, end = max(position, self._collected), int(min(self._next, self._last))
        if end <= begin:
            return
        self._budget.take((end - self._collected) * np.dtype(np.float32).itemsize)
        if begin > self._collected:
            self._chunks.append(np.zeros(begin - self._collected, np.float32))
        self._chunks.append(self._mono(frame)[begin - position : end - position])
        self._collected = end

    def _position(self, frame: AudioFrame) -> int:
        if frame.pts is None:
            return self._first if self._next is None else self._next
        position = round((frame.pts * self._tick_s - self._zero_s) * self._rate_hz)
        jitter_s = _EXACT_JITTER_S if self._has_exact_clock else _ROUNDED_JITTER_S
        if self._next is None or position > self._next + jitter_s * self._rate_hz:
            return position
        if position < self._next - _ROUNDED_JITTER_S * self._rate_hz:
            raise MediaError(f"{self._name}: the clock of the sound jumps back to {position / self._rate_hz:.2f} s; convert the file")
        return self._next

    def _mono(self, frame: AudioFrame) -> FloatArray:
        num_channels = frame.layout.nb_channels
        if frame.format.name == "fltp" and num_channels <= _MAX_PLANES:
            samples_CT = cast(FloatArray, frame.to_ndarray())
            return cast(FloatArray, np.add.reduce(samples_CT, axis=0) * np.float32(1 / num_channels))
        kind = (frame.format.name, frame.layout.name)
        if self._to_float is None or self._to_float[0] != kind:
            self._to_float = (kind, av.AudioResampler(format="flt", layout=frame.layout, rate=self._rate_hz))
        (packed,) = self._to_float[1].resample(frame)
        samples_TC = cast(FloatArray, packed.to_ndarray()).reshape(-1, num_channels)
        return cast(FloatArray, samples_TC.mean(axis=1))


def resample(audio: Audio, sample_rate_hz: int, budget: Budget) -> Audio:
    """Mono sound at another rate, ceil(T * new / old) samples, by windowed-sinc interpolation.

    Raises:
        MediaError: beyond the budget.

    """
    if sample_rate_hz == audio.sample_rate_hz:
        return audio
    divisor = gcd(sample_rate_hz, audio.sample_rate_hz)
    num_samples = ceil(len(audio.samples) * sample_rate_hz / audio.sample_rate_hz)
    budget.take(num_samples * audio.samples.itemsize)
    if max(sample_rate_hz, audio.sample_rate_hz) // divisor > _MAX_REDUCED_RATE_HZ:
        return Audio(_resample_odd_rates(audio, sample_rate_hz, num_samples), sample_rate_hz)
    with torch.inference_mode():
        samples_T: FloatArray = _resampler(audio.sample_rate_hz, sample_rate_hz)(torch.from_numpy(audio.samples)).numpy()
    return Audio(samples_T, sample_rate_hz)


@lru_cache(maxsize=32)
def _resampler(from_hz: int, to_hz: int) -> Resample:
    return Resample(from_hz, to_hz)


def _resample_odd_rates(audio: Audio, sample_rate_hz: int, num_samples: int) -> FloatArray:
    frame = AudioFrame.from_ndarray(audio.samples[None], format="flt", layout="mono")
    frame.sample_rate = audio.sample_rate_hz
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate_hz)
    parts = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    samples_T = np.zeros(num_samples, np.float32)
    joined_T = np.concatenate(parts)[:num_samples]
    samples_T[: len(joined_T)] = joined_T
    return samples_T
