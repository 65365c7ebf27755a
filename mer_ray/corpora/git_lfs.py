"""Media that Git LFS has not fetched: a clone or a zip of the repository holds small text files under the names of the media."""

from collections.abc import Iterable

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import resolve_path
from mer_ray.core.s3 import STORAGE_FAULTS, find_filesystem

# First words of a pointer file, from the specification of Git LFS.
POINTER_START = b"version https://git-lfs.github.com/spec/"


def refuse_pointers(root: str, paths: Iterable[str], advice: str) -> None:
    """Refuse a corpus whose media are pointers; a file that cannot be read is left to the validation.

    Raises:
        ManifestError: one of the files is a pointer.

    """
    for path in paths:
        if _first_bytes(resolve_path(root, path)) == POINTER_START:
            raise ManifestError(f"{root}: {path} is not the medium but a pointer of Git LFS to it; {advice}")


def _first_bytes(path: str) -> bytes:
    filesystem, name = find_filesystem(path)
    try:
        content: bytes = filesystem.cat_file(name, start=0, end=len(POINTER_START))
    except STORAGE_FAULTS:
        # The validation opens every file and says of each what is wrong with it.
        return b""
    return content
