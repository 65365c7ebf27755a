"""Media on S3: fetched to a temporary folder for as long as it is decoded."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mer_ray.core.errors import MediaError
from mer_ray.core.s3 import STORAGE_FAULTS, s3_filesystem, what_happened
from mer_ray.decoders.container import explain_errors, refuse_empty
from mer_ray.decoders.limits import BYTES_PER_MB, MediaLimits

# Headers are small and often lie at both ends of a file: small blocks spare the rest.
_HEADER_BLOCK_BYTES = 2**18


def is_remote(path: str) -> bool:
    """Whether a path is an `s3://` URL.

    Raises:
        MediaError: a URL of another kind.

    """
    if path.startswith("s3://"):
        return True
    scheme, separator, _ = path.partition("://")
    if separator and scheme.isalnum():
        raise MediaError(f"{path}: media is read from folders and from s3://, not from {scheme}://")
    return False


@contextmanager
def local_copy(path: str, limits: MediaLimits | None = None) -> Iterator[str]:
    """A path that FFmpeg can open: a local path itself, or a copy of an `s3://` object that is removed at the end.

    Raises:
        MediaError: missing, not permitted, or larger than `max_file_mb`.

    """
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mer-ray-media-") as folder:
        copy = os.path.join(folder, os.path.basename(path))
        fetch_file(path, copy, limits or MediaLimits())
        yield copy


def fetch_file(path: str, copy: str, limits: MediaLimits) -> None:
    """Copy an `s3://` object to a local file, whole; transient faults of the network are retried.

    Raises:
        MediaError: missing, not permitted, larger than `max_file_mb`, or still failing after all attempts.

    """
    with _explain_faults(path):
        filesystem, key, num_bytes = _find(path)
        if num_bytes > limits.max_file_mb * BYTES_PER_MB:
            raise MediaError(
                f"{path}: {num_bytes / BYTES_PER_MB:.0f} MiB, more than the limit max_file_mb={limits.max_file_mb}; "
                "cut the file or raise the limit"
            )
        filesystem.get_file(key, copy)
        if os.path.getsize(copy) != num_bytes:
            raise MediaError(f"{path}: {os.path.getsize(copy)} of {num_bytes} bytes arrived; run again with --retry-failed")


def stamp_file(path: str) -> str:
    """Size and modification time of a local file, size and ETag of an `s3://` object: another stamp means other content.

    Raises:
        MediaError: missing or not permitted.

    """
    with _explain_faults(path):
        if not is_remote(path):
            status = os.stat(path)
            return f"{status.st_size}:{status.st_mtime_ns}"
        facts = s3_filesystem().info(path.removeprefix("s3://"))
        return f"{facts['size']}:{facts['ETag']}"


@contextmanager
def open_remote(path: str) -> Iterator[tuple[Any, int]]:
    """A seekable file object of an `s3://` object that reads only what is asked for, and the object's size in bytes.

    Raises:
        MediaError: missing or not permitted.

    """
    with _explain_faults(path):
        filesystem, key, num_bytes = _find(path)
        file = filesystem.open(key, "rb", block_size=_HEADER_BLOCK_BYTES)
    with file:
        yield file, num_bytes


@contextmanager
def _explain_faults(path: str) -> Iterator[None]:
    """Faults of S3, which are not all OSError, as a MediaError with a sentence."""
    with explain_errors(path):
        try:
            yield
        except (FileNotFoundError, PermissionError):
            raise
        except STORAGE_FAULTS as error:
            raise MediaError(f"{path}: cannot be fetched: {what_happened(error)}; run again with --retry-failed") from error


def _find(path: str) -> tuple[Any, str, int]:
    filesystem, key = s3_filesystem(), path.removeprefix("s3://")
    num_bytes = int(filesystem.info(key)["size"])
    refuse_empty(path, num_bytes)
    return filesystem, key, num_bytes
