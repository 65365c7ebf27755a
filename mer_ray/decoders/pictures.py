"""Packets of pictures to the few frames that encoders want.

Shapes: P packets or pictures of the stream, N frames wanted.
"""

from collections import deque
from collections.abc import Collection, Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import FrameFormat, Frames
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.container import check_pixels, explain_errors
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.scaling import FrameScaler

Times = npt.NDArray[np.float64]


class Pictures:
    """Collects one stream's compressed packets; their times say which frames are wanted before any is decoded.

    Each frame format is served from the frames on screen at the centres of equal intervals, each frame once: `num_frames` intervals
    over the time in which there are pictures, or intervals of 1 / `rate_hz`. So a clip with fewer pictures than `num_frames` gives all
    of them, and a one-frame video gives one.
    """

    def __init__(self, name: str, stream: VideoStream, zero: Fraction, start_s: float, end_s: float, budget: Budget, limits: MediaLimits) -> None:
        self._name, self._stream, self._zero, self._budget, self._limits = name, stream, zero, budget, limits
        self._start_s, self._end_s = start_s, end_s
        self._packets: list[Packet[VideoStream]] = []

    def add(self, packet: Packet[VideoStream]) -> None:
        """Keep one compressed packet.

        Raises:
            MediaError: beyond the budget.

        """
        self._budget.take(packet.size)
        self._packets.append(packet)

    @property
    def begin_s(self) -> float | None:
        """The time of the first picture that was read."""
        shown = [_ticks(packet) for packet in self._packets if not packet.is_discard]
        return self._seconds(min(shown)) if shown else None

    def finish(self, formats: Collection[FrameFormat]) -> dict[FrameFormat, Frames]:
        """Decode what the formats want: RGB uint8 (N, size, size, 3) each, times from the segment's start in seconds.

        Raises:
            MediaError: no pictures in the segment, damaged ones among the wanted, or beyond the budget.

        """
        ticks_P = sorted({_ticks(packet) for packet in self._packets if not packet.is_discard})
        times_P = np.array([self._seconds(ticks) for ticks in ticks_P], np.float64)
        wanted = {frame_format: self._choose(frame_format, times_P) for frame_format in formats}
        for frame_format, indices_N in wanted.items():
            self._budget.take(len(indices_N) * frame_format.size**2 * 3)
        images = {
            frame_format: np.empty((len(indices_N), frame_format.size, frame_format.size, 3), np.uint8)
            for frame_format, indices_N in wanted.items()
        }
        users: dict[int, list[tuple[FrameFormat, int]]] = {}
        for frame_format, indices_N in wanted.items():
            for slot, index in enumerate(indices_N):
                users.setdefault(ticks_P[index], []).append((frame_format, slot))
        scaler = FrameScaler(self._stream.sample_aspect_ratio)
        for ticks, frame in self._decode(sorted(users)):
            for frame_format, slot in users[ticks]:
                images[frame_format][slot] = scaler.scale(frame, frame_format.size, frame_format.crop)
        return {
            frame_format: Frames(images[frame_format], np.maximum(0.0, times_P[indices_N] - self._start_s))
            for frame_format, indices_N in wanted.items()
        }

    def _choose(self, frame_format: FrameFormat, times_P: Times) -> npt.NDArray[np.intp]:
        if not len(times_P):
            raise MediaError(f"{self._name}: the file has a picture stream without pictures")
        begin_s = max(self._start_s, times_P[0])
        end_s = min(self._end_s, times_P[-1] + self._last_duration_s(times_P))
        if end_s <= begin_s:
            raise MediaError(
                f"{self._name}: no pictures between {self._start_s:g} s and {self._end_s:g} s; "
                f"they last from {times_P[0]:.2f} s to {times_P[-1]:.2f} s"
            )
        if frame_format.num_frames is not None:
            interval_s = (end_s - begin_s) / frame_format.num_frames
            num_targets = frame_format.num_frames
        else:
            assert frame_format.rate_hz is not None
            interval_s = min(1 / frame_format.rate_hz, end_s - begin_s)
            num_targets = max(1, round((end_s - begin_s) / interval_s))
        targets_N = begin_s + (np.arange(num_targets) + 0.5) * interval_s
        on_screen_N = np.searchsorted(times_P, targets_N, side="right") - 1
        return np.unique(np.maximum(on_screen_N, 0))

    def _last_duration_s(self, times_P: Times) -> float:
        last = max((packet for packet in self._packets if not packet.is_discard), key=_ticks)
        if last.duration:
            return float(last.duration * last.time_base)
        return float(np.median(np.diff(times_P))) if len(times_P) > 1 else 0.04

    def _seconds(self, ticks: int) -> float:
        assert self._stream.time_base is not None
        return float(ticks * self._stream.time_base - self._zero)

    def _decode(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames in order of time; each is released before the next is decoded."""
        context = self._stream.codec_context
        context.thread_count = 1
        # A guard against headers that lie about the size: the decoder refuses before it allocates. Twice, as it counts padding.
        context.options = {"max_pixels": str(2 * self._limits.max_frame_pixels)}
        is_skippable = context.name == "h264"
        missing = deque(wanted)
        for packet in (*needed_packets(self._packets, set(wanted)), None):
            if packet is not None and is_skippable:
                # Frames that no other frame refers to and nobody wants are not decoded: exact, and a third of the work.
                context.skip_frame = "DEFAULT" if _ticks(packet) in users else "NONREF"
            with explain_errors(self._name, self._where(packet)):
                frames = context.decode(packet)
            ...
