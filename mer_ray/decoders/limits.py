"""What one clip may cost: beyond these limits a file is refused before it is decoded."""

from mer_ray.core.config import Config, where_or_how_fast

BYTES_PER_MB = 2**20


class MediaLimits(Config):
    """Upper bounds per clip; a clip beyond one of them is a failure, never a shortened clip.

    `max_duration_s` bounds what is decoded (a segment of a long file counts with its own length), `max_decoded_mb` (MiB) what one
    clip holds in memory: native sound, compressed pictures, decoded outputs. `max_file_mb` (MiB) bounds the copy of a remote file.
    """

    max_duration_s: float = where_or_how_fast(1800.0, gt=0)
    max_frame_pixels: int = where_or_how_fast(4096 * 2304, gt=0)
    max_channels: int = where_or_how_fast(64, gt=0)
    max_decoded_mb: int = where_or_how_fast(1024, gt=0)
    max_file_mb: int = where_or_how_fast(8192, gt=0)
