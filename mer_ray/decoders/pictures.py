"""Packets of pictures to the few frames that encoders want.

Shapes: P pictures of the stream, N frames wanted.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mer_ray.core.errors import MediaError
from mer_ray.core.faces import DetectedFaces
from mer_ray.core.media_types import ByteArray, FrameFormat, Frames
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.container import OpenMedia, check_pixels, explain_errors
from mer_ray.decoders.face_crop import crop_face
from mer_ray.decoders.face_detector import Face
from mer_ray.decoders.face_finding import FaceFinder
from mer_ray.decoders.frame_choice import Indices, Times, choose_frames, cut_pieces
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.picture_packets import needed_runs, shown_at
from mer_ray.decoders.scaling import FrameScaler
from mer_ray.decoders.timeline import tick_s

# Only for a stream of a single picture that does not say how long it is shown.
_ONE_PICTURE_S = 0.04
# Pictures that are needed twice are decoded twice if they take more than this; 4:2:0 sampling has 1.5 bytes for a pixel.
_MAX_HELD_BYTES = 128 * 2**20
_BYTES_PER_PIXEL = 1.5

# The index of a picture in its stream, and the face that is wanted of it.
_Place = tuple[int, Face | None]


@dataclass
class _Choice:
    """The stream's pictures in order, what each format wants of them, and pictures that were decoded on the way."""

    ticks_P: list[int]
    times_P: Times
    duration_s: float
    places: dict[FrameFormat, list[_Place]]
    no_face_share: dict[FrameFormat, float] = field(default_factory=dict)
    held: dict[int, VideoFrame] = field(default_factory=dict)
    held_bytes: int = 0


class _Cutter:
    """Cuts what formats want out of one picture, which is converted in full once for all faces."""

    def __init__(self, frame: VideoFrame, scaler: FrameScaler) -> None:
        self._frame, self._scaler = frame, scaler
        self._upright: ByteArray | None = None

    def cut(self, wanted: FrameFormat, face: Face | None) -> ByteArray:
        if face is None or not isinstance(wanted.faces, DetectedFaces):
            return self._scaler.scale(self._frame, wanted.size, wanted.crop)
        if self._upright is None:
            self._upright = self._scaler.upright(self._frame)
        return crop_face(self._upright, face, wanted.size, wanted.faces.margin, align=wanted.faces.align)


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
        stream.codec_context.thread_count = 1
        # Guards against a stream whose pictures grow beyond the header's size; twice the limit, as the decoder counts its padding.
        stream.codec_context.options = {"max_pixels": str(2 * limits.max_frame_pixels)}
        self._scaler = FrameScaler(stream.sample_aspect_ratio)

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
            ConfigError: no face detector where a format needs one.

        """
        choice = self._choose(formats)
        outputs = {wanted: self._frames_of(wanted, choice.places[wanted], choice) for wanted in formats}
        uses: dict[int, list[tuple[FrameFormat, int, Face | None]]] = {}
        for wanted, places in choice.places.items():
            for row, (index, face) in enumerate(places):
                uses.setdefault(index, []).append((wanted, row, face))
        for index, frame in self._pictures_at(sorted(uses), choice):
            cutter = _Cutter(frame, self._scaler)
            for wanted, row, face in uses[index]:
                outputs[wanted].images[row] = cutter.cut(wanted, face)
        self._budget.give_back(choice.held_bytes)
        return outputs

    def pieces(self, wanted: FrameFormat, piece_s: float) -> Iterator[Frames]:
        """What `finish` gives for one format, in consecutive pieces of as many frames as it wants in `piece_s`; at least one.

        `no_face_share` is that of all pieces together. A piece no longer counts as held when the next one is asked for.

        Raises:
            MediaError, ConfigError: as `finish`.

        """
        choice = self._choose([wanted])
        places = choice.places[wanted]
        pictures = iter(self._pictures_at([index for index, _ in places], choice))
        for piece in cut_pieces(wanted, len(places), choice.duration_s, piece_s):
            frames = self._frames_of(wanted, places[piece], choice)
            for row, (_, face) in enumerate(places[piece]):
                _, frame = next(pictures)
                frames.images[row] = _Cutter(frame, self._scaler).cut(wanted, face)
            yield frames
            self._budget.give_back(frames.images.nbytes)

    def _choose(self, formats: Collection[FrameFormat]) -> _Choice:
        """Which pictures each format wants and, where it wants faces, where these are."""
        ticks_P = sorted({shown_at(packet) for packet in self._packets if not packet.is_discard})
        times_P: Times = np.array([self._seconds(ticks) for ticks in ticks_P], np.float64)
        begin_s, end_s = self._extent_s(times_P)
        chosen = {wanted: choose_frames(wanted, times_P, begin_s, end_s) for wanted in formats}
        places: dict[FrameFormat, list[_Place]] = {wanted: [(int(index), None) for index in indices] for wanted, indices in chosen.items()}
        choice = _Choice(ticks_P, times_P, end_s - begin_s, places)
        finder = FaceFinder(chosen, self._scaler)
        if not finder.to_search:
            return choice
        self._hold(chosen, choice)
        for index, frame in self._pictures_at(sorted(finder.to_search), choice):
            finder.search(index, frame)
        for wanted, indices in chosen.items():
            if wanted.faces is not None:
                faces = finder.faces(wanted, times_P)
                choice.places[wanted] = [(int(index), face) for index, face in zip(indices, faces, strict=True) if face is not None]
                choice.no_face_share[wanted] = 1 - len(choice.places[wanted]) / len(indices)
        return choice

    def _frames_of(self, wanted: FrameFormat, places: Sequence[_Place], choice: _Choice) -> Frames:
        """Room for the pictures at some places, and their times."""
        self._budget.take(len(places) * wanted.size**2 * 3)
        images = np.empty((len(places), wanted.size, wanted.size, 3), np.uint8)
        return Frames(images, self._clip_times_s(places, choice), choice.no_face_share.get(wanted))

    def _clip_times_s(self, places: Sequence[_Place], choice: _Choice) -> Times:
        return np.maximum(0.0, choice.times_P[[index for index, _ in places]] - self._start_s)

    def _hold(self, chosen: Mapping[FrameFormat, Indices], choice: _Choice) -> None:
        """Keep the pictures that are needed twice, to find faces and to cut them out, where that costs little."""
        codec = self._stream.codec_context
        indices = sorted({int(index) for of_format in chosen.values() for index in of_format})
        num_bytes = int(len(indices) * codec.width * codec.height * _BYTES_PER_PIXEL)
        output_bytes = sum(len(of_format) * wanted.size**2 * 3 for wanted, of_format in chosen.items())
        if num_bytes <= min(_MAX_HELD_BYTES, self._budget.left_bytes - output_bytes):
            self._budget.take(num_bytes)
            choice.held_bytes = num_bytes
            choice.held.update(self._pictures_at(indices, choice))

    def _pictures_at(self, indices: list[int], choice: _Choice) -> Iterable[tuple[int, VideoFrame]]:
        """The pictures of the stream with these indices (ascending): held ones, or decoded."""
        if not indices:
            return []
        if choice.held:
            return [(index, choice.held[index]) for index in indices]
        decoded = self._decode(choice.ticks_P, [choice.ticks_P[index] for index in indices])
        return ((index, frame) for index, (_, frame) in zip(indices, decoded, strict=True))

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
        if context.is_open:
            context.flush_buffers()
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
