"""Packets of pictures to the few frames that encoders want.

Shapes: P pictures of the stream, N frames wanted.
"""

from collections import deque
from collections.abc import Collection, Iterator
from typing import NoReturn

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import FrameFormat, Frames
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.container import OpenMedia, check_pixels, explain_errors
from mer_ray.decoders.frame_choice import Times, choose_frames
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.picture_packets import needed_runs, shown_at
from mer_ray.decoders.scaling import FrameScaler
from mer_ray.decoders.timeline import tick_s

# Only for a stream of a single picture that does not say how long it is shown.
_ONE_PICTURE_S = 0.04


class Pictures:
    """Collects one stream's compressed packets; their times say which frames are wanted before any is decoded.

    `zero_s` is the container time of the clip's second 0.
    """

    def __init__(
        self, media: OpenMedia, stream: VideoStream, zero_s: float, start_s: float, end_s: float, budget: Budget, limits: MediaLimits
    ) -> None:
        self._name, self._stream, self._zero_s, self._budget, self._limits = media.name, stream, zero_s, budget, limits
        self._start_s, self._end_s = start_s, end_s
        self._tick_s = tick_s(stream)
        # AVI stores no times but the order of decoding, and FFmpeg's guesses are wrong where pictures are reordered.
        self._has_times = media.format != "avi"
        self._packets: list[Packet[VideoStream]] = []

    def add(self, packet: "Packet[VideoStream]") -> None:
        """Keep one compressed packet.

        Raises:
            MediaError: beyond the budget, or without a time.

        """
        if packet.pts is None or not self._has_times:
            packet.pts = packet.dts
            self._has_times = False
        if packet.pts is None:
            raise MediaError(f"{self._name}: a picture without a time; convert the file")
        self._budget.take(packet.size)
        self._packets.append(packet)

    def finish(self, formats: Collection[FrameFormat]) -> dict[FrameFormat, Frames]:
        """Decode what the formats want: RGB uint8 (N, size, size, 3) each, times in seconds from the segment's start.

        Raises:
            MediaError: no pictures in the segment, damaged ones, or beyond the budget.

        """
        ticks_P = sorted({shown_at(packet) for packet in self._packets if not packet.is_discard})
        times_P: Times = np.array([self._seconds(ticks) for ticks in ticks_P], np.float64)
        begin_s, end_s = self._extent_s(times_P)
        chosen = {frame_format: choose_frames(frame_format, times_P, begin_s, end_s) for frame_format in formats}
        self._budget.take(sum(len(indices) * frame_format.size**2 * 3 for frame_format, indices in chosen.items()))
        images = {
            frame_format: np.empty((len(indices), frame_format.size, frame_format.size, 3), np.uint8)
            for frame_format, indices in chosen.items()
        }
        places: dict[int, list[tuple[FrameFormat, int]]] = {}
        for frame_format, indices in chosen.items():
            for place, index in enumerate(indices):
                places.setdefault(ticks_P[index], []).append((frame_format, place))
        scaler = FrameScaler(self._stream.sample_aspect_ratio)
        for ticks, frame in self._decode(ticks_P, sorted(places)):
            for frame_format, place in places[ticks]:
                images[frame_format][place] = scaler.scale(frame, frame_format.size, frame_format.crop)
        return {
            frame_format: Frames(images[frame_format], np.maximum(0.0, times_P[indices] - self._start_s))
            for frame_format, indices in chosen.items()
        }

    def _extent_s(self, times_P: Times) -> tuple[float, float]:
        """The part of the segment in which there are pictures."""
        if not len(times_P):
            raise MediaError(f"{self._name}: a stream of pictures without pictures")
        last = max((packet for packet in self._packets if not packet.is_discard), key=shown_at)
        if last.duration:
            last_s = last.duration * self._tick_s
        else:
            last_s = float(np.median(np.diff(times_P))) if len(times_P) > 1 else _ONE_PICTURE_S
        begin_s, end_s = max(self._start_s, times_P[0]), min(self._end_s, times_P[-1] + last_s)
        if end_s <= begin_s:
            raise MediaError(
                f"{self._name}: no pictures between {self._start_s:g} s and {self._end_s:g} s; "
                f"they are shown from {times_P[0]:.2f} s to {times_P[-1] + last_s:.2f} s"
            )
        return begin_s, end_s

    def _seconds(self, ticks: int) -> float:
        return ticks * self._tick_s - self._zero_s

    def _decode(self, ticks_P: list[int], wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The pictures shown at the times `wanted`, in order; only one is held at a time."""
        context = self._stream.codec_context
        context.thread_count = 1
        # Guards against a stream whose pictures grow beyond the header's size; twice the limit, as the decoder counts its padding.
        context.options = {"max_pixels": str(2 * self._limits.max_frame_pixels)}
        missing = deque(wanted)
        in_order = iter(ticks_P)
        wanted_ticks = set(wanted)
        for run in needed_runs(self._packets, wanted_ticks) if self._has_times else [self._packets]:
            for packet in (*run, None):
                for frame in self._decode_packet(packet, wanted_ticks):
                    ticks = frame.pts if self._has_times else next(in_order, None)
                    if missing and ticks is not None and ticks >= missing[0]:
                        if frame.is_corrupt or ticks > missing[0]:
                            self._refuse_picture(missing[0])
                        yield missing.popleft(), frame
                if not missing:
                    return
            context.flush_buffers()
        self._refuse_picture(missing[0])

    def _decode_packet(self, packet: "Packet[VideoStream] | None", wanted: set[int]) -> list[VideoFrame]:
        """The pictures that a packet completes; with None those that the decoder still holds."""
        context = self._stream.codec_context
        if packet is not None and context.name == "h264" and self._has_times:
            # Pictures that nobody wants and no other picture refers to are not decoded: exact, and a third of the work.
            context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        where = f"at {self._seconds(shown_at(packet)):.2f} s" if packet is not None else "at their end"
        with explain_errors(self._name, f" in its pictures {where}"):
            frames = self._stream.decode(packet)
        for frame in frames:
            check_pixels(self._name, frame.width, frame.height, self._limits)
        return frames

    def _refuse_picture(self, ticks: int) -> NoReturn:
        raise MediaError(f"{self._name}: damaged: the picture at {self._seconds(ticks):.2f} s cannot be decoded")
