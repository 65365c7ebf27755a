"""All files below a folder or an `s3://` prefix."""

import os
from dataclasses import dataclass

from mer_ray.core.errors import ManifestError
from mer_ray.core.s3 import STORAGE_FAULTS, find_filesystem, what_happened
from mer_ray.corpora.paths import is_remote


@dataclass(frozen=True, order=True)
class Listed:
    """A file's path below the root, or that of a folder that was not followed, with the `problem`."""

    path: str
    problem: str | None = None


def list_files(root: str) -> list[Listed]:
    """All files below the root by name; hidden files and folders are left out.

    Raises:
        ManifestError: no such folder or prefix.

    """
    found = _list_remote(root) if is_remote(root) else _list_local(root)
    return sorted(item for item in found if not any(part.startswith(".") for part in item.path.split("/")))


def _list_remote(root: str) -> list[Listed]:
    filesystem, prefix = find_filesystem(root)
    try:
        paths = filesystem.find(prefix)
    except STORAGE_FAULTS as error:
        raise ManifestError(f"{root}: the prefix cannot be listed: {what_happened(error)}") from error
    if not paths:
        raise ManifestError(f"{root}: no such prefix, or nothing below it; correct `path`")
    return [Listed(path.removeprefix(f"{prefix}/")) for path in paths]


def _list_local(root: str) -> list[Listed]:
    if not os.path.isdir(root):
        raise ManifestError(f"{root}: no such folder; correct `path`")
    found: list[Listed] = []

    def refuse(error: OSError) -> None:
        found.append(Listed(os.path.relpath(error.filename, root), f"cannot be listed: {error.strerror}"))

    for folder, subfolders, names in os.walk(root, onerror=refuse):
        relative = "" if folder == root else os.path.relpath(folder, root)
        found += [Listed(os.path.join(relative, name)) for name in names]
        # Following links could run in circles.
        linked = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
        found += [Listed(os.path.join(relative, name), "is a symbolic link to a folder, which is not followed") for name in linked]
    return found
