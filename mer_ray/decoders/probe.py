"""Facts of a media file from its headers, without decoding."""

import os
from dataclasses import dataclass
from typing import Any

from mer_ray.core.errors import MediaError
from mer_ray.decoders.container import OpenMedia, explain_errors, open_container
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import is_remote, open_remote
from mer_ray.decoders.timeline import packet_end_ticks, promised_duration_s, tick_s, zero_s


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a file holds: seconds, streams, coded picture size in pixels, sampling rate, channels, bytes; None where it lacks the stream."""

    duration_s: float
    has_audio: bool
    has_video: bool
    width: int | None
    height: int | None
    sample_rate_hz: int | None
    num_channels: int | None
    num_bytes: int


def probe_media(path: str, limits: MediaLimits | None = None) -> MediaFacts:
    """Read the facts of a local file or an `s3://` object: headers only, packets where the header has no duration.

    `limits` refuses too large pictures and too many channels; the duration is the clip's matter, which may be a short segment.

    Raises:
        MediaError: missing, unreadable, not media, no stream, nothing in its streams, or beyond the limits.

    """
    if is_remote(path):
        with open_remote(path) as (file, num_bytes):
            return _probe(file, path, num_bytes, limits)
    with explain_errors(path):
        num_bytes = os.stat(path).st_size
    return _probe(path, path, num_bytes, limits)


def _probe(source: str | Any, name: str, num_bytes: int, limits: MediaLimits | None) -> MediaFacts:
    with open_container(source, name) as media:
        if limits is not None:
            media.check_limits(limits)
        video, audio = media.video, media.audio
        return MediaFacts(
            duration_s=promised_duration_s(media) or _duration_of_packets_s(media),
            has_audio=audio is not None,
            has_video=video is not None,
            width=video.codec_context.width if video is not None else None,
            height=video.codec_context.height if video is not None else None,
            sample_rate_hz=audio.codec_context.sample_rate if audio is not None else None,
            num_channels=audio.codec_context.layout.nb_channels if audio is not None else None,
            num_bytes=num_bytes,
        )


def _duration_of_packets_s(media: OpenMedia) -> float:
    ticks_s = {stream.index: tick_s(stream) for stream in (media.video, media.audio) if stream is not None}
    end_s = 0.0
    with explain_errors(media.name, " between its packets"):
        for packet in media.container.demux(list(ticks_s)):
            if (end_ticks := packet_end_ticks(packet)) is not None:
                end_s = max(end_s, end_ticks * ticks_s[packet.stream_index] - zero_s(media))
    if end_s <= 0:
        raise MediaError(f"{media.name}: its streams are empty: no sound samples and no pictures")
    return end_s
