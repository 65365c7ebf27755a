"""One time axis per file: second 0 is its first picture or sound, and what its header promises."""

from typing import Any

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from mer_ray.decoders.container import OpenMedia


def zero_s(media: OpenMedia) -> float:
    """The container time of the file's first picture or sound, in seconds: second 0 of a clip."""
    starts = []
    if media.video is not None and media.video.start_time is not None:
        starts.append(media.video.start_time * tick_s(media.video))
    if media.audio is not None and media.audio.start_time is not None:
        # Sound before 0 is the codec's priming, which the decoder drops.
        starts.append(max(0.0, media.audio.start_time * tick_s(media.audio)))
    return min(starts, default=0.0)


def tick_s(stream: AudioStream | VideoStream) -> float:
    """The seconds of one tick of a stream's clock; every stream of an open file has it."""
    assert stream.time_base is not None
    return float(stream.time_base)


def promised_end_s(media: OpenMedia, stream: AudioStream | VideoStream) -> float | None:
    """When a stream ends according to its header, in seconds of the clip; None where the header does not tell."""
    if media.format == "mp3" and not stream.start_time:
        # Without a LAME tag, which also tells the priming, FFmpeg guesses the duration from the bit rate.
        return None
    if stream.duration is not None and stream.duration > 0:
        # FFmpeg lowers the duration of a cut AVI to what its index holds; the count of frames stays the header's.
        ticks = max(stream.duration, stream.frames) if media.format == "avi" else stream.duration
        return (max(0, stream.start_time or 0) + ticks) * tick_s(stream) - zero_s(media)
    if (tag := stream.metadata.get("DURATION")) is not None:
        return _matroska_seconds(tag)
    if len(media.container.streams) == 1:
        return _container_end_s(media)
    return None


def promised_duration_s(media: OpenMedia) -> float | None:
    """How long the file lasts according to its header, in seconds; None where the header does not tell."""
    ends = [promised_end_s(media, stream) for stream in (media.video, media.audio) if stream is not None]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else _container_end_s(media)


def _container_end_s(media: OpenMedia) -> float | None:
    if media.format == "mp3" or media.container.duration is None:
        return None
    return (media.container.duration + (media.container.start_time or 0)) / av.time_base - zero_s(media)


def _matroska_seconds(tag: str) -> float | None:
    """`00:00:03.008000000` in seconds; None for other texts."""
    parts = tag.split(":")
    if len(parts) != 3 or not all(part.replace(".", "", 1).isdigit() for part in parts):
        return None
    hours, minutes, seconds = map(float, parts)
    return hours * 3600 + minutes * 60 + seconds


def packet_end_ticks(packet: "Packet[Any]") -> int | None:
    """When a packet's picture or sound ends, in ticks of its stream; None for a packet without a time."""
    return None if packet.pts is None else packet.pts + (packet.duration or 0)
