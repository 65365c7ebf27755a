"""Counts what one clip holds in memory, before it is allocated."""

from mer_ray.core.errors import MediaError
from mer_ray.decoders.limits import BYTES_PER_MB, MediaLimits


class Budget:
    """The bytes that one clip may hold, all its files together."""

    def __init__(self, clip_name: str, limits: MediaLimits) -> None:
        self._clip_name = clip_name
        self._limit_mb = limits.max_decoded_mb
        self.left_bytes = limits.max_decoded_mb * BYTES_PER_MB

    def take(self, num_bytes: int) -> None:
        """Count bytes that are about to be held.

        Raises:
            MediaError: more than `max_decoded_mb` in all.

        """
        self.left_bytes -= num_bytes
        if self.left_bytes < 0:
            raise MediaError(
                f"{self._clip_name}: needs more memory than the limit max_decoded_mb={self._limit_mb}; "
                "cut the clip into segments (start_s, end_s), ask for fewer frames, or raise the limit"
            )

    def give_back(self, num_bytes: int) -> None:
        """Count bytes that are no longer held."""
        self.left_bytes += num_bytes
