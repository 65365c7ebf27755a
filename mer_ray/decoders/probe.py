"""Facts of a media file from its headers, without decoding."""

from dataclasses import dataclass

from mer_ray.decoders.limits import MediaLimits


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a file holds: seconds, streams, upright picture size in pixels, sampling rate, channels, bytes; None where it lacks the stream."""

    duration_s: float
    has_audio: bool
    has_video: bool
    width: int | None
    height: int | None
    sample_rate_hz: int | None
    num_channels: int | None
    num_bytes: int


def probe_media(path: str, limits: MediaLimits | None = None) -> MediaFacts:
    """Read the facts of a local file or an `s3://` object, headers only.

    Raises:
        MediaError: missing, unreadable, not media, no stream, or a picture or sound beyond the limits.

    """
    raise NotImplementedError
