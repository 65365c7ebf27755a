"""One pass over one file: sound is decoded as its packets come, pictures are kept compressed until their times are known."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import AudioFormat, EncoderInput, FrameFormat, Frames, InputFormat
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.container import OpenMedia, explain_errors, open_container
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.missing_bytes import missing_mp4_bytes, missing_wave_s
from mer_ray.decoders.picture_packets import shown_at
from mer_ray.decoders.pictures import Pictures
from mer_ray.decoders.sound import Sound, resample
from mer_ray.decoders.timeline import packet_end_ticks, promised_duration_s, promised_end_s, tick_s, zero_s

# Sound codecs need earlier packets to swing in (Opus 0.08 s, the bit reservoir of MP3 up to 0.3 s).
_PREROLL_S = 0.5
# How much later than in its turn a picture may be stored: 16 of them at 16 a second.
_REORDERED_S = 1.0
# Annotations are rounded to more than a frame.
_END_TOLERANCE_S = 0.5
# Headers are rounded too, and padding differs between programs; a file that lacks more than this was cut.
_CUT_TOLERANCE_S = 0.25


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a file that belongs to the clip, in seconds; `end_s` infinite: to the end."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted from one file, and which streams it must have."""

    audio: tuple[AudioFormat, ...]
    frames: tuple[FrameFormat, ...]
    needs_audio: bool
    needs_video: bool


class _SeekMissedError(Exception):
    """The file cannot be entered in its middle: its index leads behind the segment's start, or there is none."""


def decode_file(
    path: str, name: str, wanted: Wanted, segment: Segment, budget: Budget, limits: MediaLimits
) -> Mapping[InputFormat, EncoderInput | None]:
    """Decode the segment of a local file into the wanted formats; `name` is how errors call the file.

    Raises:
        MediaError: as `decode_clip`.

    """
    with _read_file(path, name, wanted, segment, budget, limits) as file_pass:
        return file_pass.finish()


def decode_file_pieces(
    path: str, name: str, wanted: Wanted, segment: Segment, budget: Budget, limits: MediaLimits, piece_s: float
) -> Iterator[Frames]:
    """The frames of the only format of `wanted`, in pieces; none where the file has no pictures.

    Raises:
        MediaError: as `decode_clip`.

    """
    with _read_file(path, name, wanted, segment, budget, limits) as file_pass:
        yield from file_pass.pieces(piece_s)


@contextmanager
def _read_file(path: str, name: str, wanted: Wanted, segment: Segment, budget: Budget, limits: MediaLimits) -> Iterator["_FilePass"]:
    left_bytes = budget.left_bytes
    for seeks in (True, False) if segment.start_s > _PREROLL_S else (False,):
        with open_container(path, name) as media:
            file_pass = _FilePass(path, media, wanted, segment, budget, limits)
            try:
                file_pass.read(seeks=seeks)
            except _SeekMissedError:
                budget.left_bytes = left_bytes
                continue
            yield file_pass
            return


class _FilePass:
    """The state of one pass: what is read, and how far each stream was seen."""

    def __init__(self, path: str, media: OpenMedia, wanted: Wanted, segment: Segment, budget: Budget, limits: MediaLimits) -> None:
        self._path, self._media, self._wanted, self._segment, self._limits = path, media, wanted, segment, limits
        self._budget = budget
        self._zero_s = zero_s(media)
        self._ticks_s = {stream.index: tick_s(stream) for stream in (media.video, media.audio) if stream is not None}
        self._ends_s: dict[int, float] = {}
        _check_header(media, wanted, segment, limits)
        start_s, end_s = segment.start_s, segment.end_s
        self._sound = self._pictures = None
        if wanted.audio and media.audio is not None:
            self._sound = Sound(media.name, media.audio, self._zero_s, start_s, end_s, budget)
        if wanted.frames and media.video is not None:
            self._pictures = Pictures(media, media.video, self._zero_s, start_s, end_s, budget, limits)

    def read(self, *, seeks: bool) -> None:
        with explain_errors(self._media.name, " between its packets"):
            self._read(seeks=seeks)
        self._refuse_cut_file()

    def finish(self) -> dict[InputFormat, EncoderInput | None]:
        decoded: dict[InputFormat, EncoderInput | None] = {}
        if self._sound is not None:
            audio = self._sound.finish()
            decoded.update({wanted: resample(audio, wanted.sample_rate_hz, self._budget) for wanted in self._wanted.audio})
        if self._pictures is not None:
            for frame_format, frames in self._pictures.finish(self._wanted.frames).items():
                decoded[frame_format] = frames
        return decoded

    def pieces(self, piece_s: float) -> Iterator[Frames]:
        if self._pictures is not None:
            (frame_format,) = self._wanted.frames
            yield from self._pictures.pieces(frame_format, piece_s)

    def _read(self, *, seeks: bool) -> None:
        streams = self._streams_to_read()
        for stream in self._media.container.streams:
            if stream not in streams:
                stream.discard = Discard.all
        if not streams:
            return
        if seeks:
            if self._counts_pictures:
                raise _SeekMissedError
            target_s = self._segment.start_s - _PREROLL_S + self._zero_s
            try:
                self._media.container.seek(int(target_s / self._ticks_s[streams[0].index]), stream=streams[0])
            except FFmpegError as error:
                raise _SeekMissedError from error
        unread = {stream.index for stream in streams}
        for packet in self._media.container.demux(streams):
            if packet.pts is None and packet.dts is None:
                continue
            if seeks and packet.stream_index not in self._ends_s:
                self._check_seek(packet)
            if self._is_behind(packet):
                unread.discard(packet.stream_index)
                if not unread:
                    return
            else:
                self._take(packet)

    @property
    def _counts_pictures(self) -> bool:
        """Whether pictures have no times but are reordered: they are told apart by counting all from the file's start."""
        video = self._media.video
        return self._pictures is not None and video is not None and self._media.format == "avi" and video.codec_context.has_b_frames

    def _streams_to_read(self) -> list[AudioStream | VideoStream]:
        media = self._media
        streams: list[AudioStream | VideoStream] = []
        if self._pictures is not None and media.video is not None:
            streams.append(media.video)
        if self._sound is not None and media.audio is not None:
            streams.append(media.audio)
        if any(promised_end_s(media, stream) is None for stream in streams):
            # Only the file as a whole has a promised end: reading every stream shows whether it is reached.
            return [stream for stream in (media.video, media.audio) if stream is not None]
        return streams

    def _take(self, packet: "Packet[Any]") -> None:
        # FFmpeg also calls the end of a WAV file corrupt whose header is a few bytes off or leaves its length open.
        if packet.is_corrupt and self._media.format != "wav":
            raise MediaError(f"{self._media.name}: cut short or damaged at {self._seconds(packet):.2f} s; copy or export it again")
        end_ticks = packet_end_ticks(packet)
        if end_ticks is not None:
            end_s = self._clip_seconds(end_ticks, packet)
            self._ends_s[packet.stream_index] = max(end_s, self._ends_s.get(packet.stream_index, 0.0))
        length_s = min(self._segment.end_s, self._clip_seconds(shown_at(packet), packet)) - self._segment.start_s
        if length_s > self._limits.max_duration_s:
            _refuse_duration(self._media.name, length_s, self._limits)
        if self._sound is not None and packet.stream is self._media.audio:
            self._sound.add(packet)
        elif self._pictures is not None and packet.stream is self._media.video:
            self._pictures.add(packet)

    def _seconds(self, packet: "Packet[Any]") -> float:
        """When a packet is decoded: it and all behind it are shown at this time or later."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        assert ticks is not None
        return self._clip_seconds(ticks, packet)

    def _clip_seconds(self, ticks: int, packet: "Packet[Any]") -> float:
        return ticks * self._ticks_s[packet.stream_index] - self._zero_s

    def _is_behind(self, packet: "Packet[Any]") -> bool:
        end_s = self._segment.end_s + (_REORDERED_S if self._counts_pictures else 0)
        return packet.dts is not None and self._seconds(packet) >= end_s

    def _check_seek(self, packet: "Packet[Any]") -> None:
        begin_s = self._clip_seconds(shown_at(packet), packet)
        stream_start_s = self._clip_seconds(packet.stream.start_time or 0, packet)
        if begin_s > max(self._segment.start_s, stream_start_s) or not packet.is_keyframe:
            raise _SeekMissedError

    def _refuse_cut_file(self) -> None:
        to_the_end = self._segment.end_s == math.inf
        if to_the_end and self._media.format == "wav" and (missing_s := missing_wave_s(self._path)) > _CUT_TOLERANCE_S:
            raise MediaError(f"{self._media.name}: cut short: its header promises {missing_s:.2f} s more sound; copy or export it again")
        if to_the_end and self._media.format.startswith("mov") and (num_bytes := missing_mp4_bytes(self._path)) > 0:
            raise MediaError(f"{self._media.name}: cut short: its last box promises {num_bytes} bytes more; copy or export it again")
        ends_s = dict(self._ends_s)
        for stream in self._streams_to_read():
            promised_s = promised_end_s(self._media, stream)
            if promised_s is not None and stream.index in ends_s:
                self._refuse_early_end(ends_s[stream.index], promised_s, "sound" if stream.type == "audio" else "pictures")
        promised_s = promised_duration_s(self._media)
        if promised_s is not None and ends_s and len(ends_s) == len(self._media.container.streams):
            self._refuse_early_end(max(ends_s.values()), promised_s, "file")

    def _refuse_early_end(self, end_s: float, promised_s: float, what: str) -> None:
        if end_s < min(promised_s, self._segment.end_s) - _CUT_TOLERANCE_S:
            raise MediaError(
                f"{self._media.name}: cut short: its header promises {promised_s:.2f} s, its {what} ends at {end_s:.2f} s; "
                "copy or export it again"
            )


def _check_header(media: OpenMedia, wanted: Wanted, segment: Segment, limits: MediaLimits) -> None:
    if wanted.needs_audio and media.audio is None:
        raise MediaError(f"{media.name}: no stream of sound, but this is the clip's audio_path")
    if wanted.needs_video and media.video is None:
        raise MediaError(f"{media.name}: no stream of pictures, but this is the clip's video_path")
    media.check_limits(limits)
    promised_s = promised_duration_s(media)
    if promised_s is not None and (
        segment.start_s >= promised_s or (segment.end_s < math.inf and segment.end_s > promised_s + _END_TOLERANCE_S)
    ):
        raise MediaError(
            f"{media.name}: the segment from {segment.start_s:g} s to {segment.end_s:g} s lies outside of the file, "
            f"which lasts {promised_s:.2f} s"
        )
    length_s = min(segment.end_s, math.inf if promised_s is None else promised_s) - segment.start_s
    if limits.max_duration_s < length_s < math.inf:
        _refuse_duration(media.name, length_s, limits)


def _refuse_duration(name: str, duration_s: float, limits: MediaLimits) -> NoReturn:
    raise MediaError(
        f"{name}: {duration_s:.0f} s to decode, more than the limit max_duration_s={limits.max_duration_s:g}; "
        "cut the clip into segments (start_s, end_s) or raise the limit"
    )
