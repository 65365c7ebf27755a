"""All files below a folder or an `s3://` prefix."""

import os
from dataclasses import dataclass

from mer_ray.core.errors import ManifestError
from mer_ray.core.s3 import STORAGE_FAULTS, find_filesystem, what_happened
from mer_ray.corpora.paths import is_remote

# What Windows, macOS and network disks put beside the files of every folder, in lower case.
_OF_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
_LINKED = "is a symbolic link to a folder, which is not followed; put the folder itself there"
NOT_UTF8 = "has a name that is not UTF-8; rename it"


@dataclass(frozen=True)
class Listed:
    """A file's path below the root, or that of a folder that was not followed or of a name that is not UTF-8, with the `problem`."""

    path: str
    problem: str | None = None

    @property
    def is_closed_folder(self) -> bool:
        """Whether it is a folder whose files are not known."""
        return self.problem is not None and self.problem != NOT_UTF8


def is_left_out(name: str) -> bool:
    """Whether a file or folder is hidden, or none of the user's: Thumbs.db, desktop.ini, __MACOSX and the like."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def show_name(name: str) -> str:
    r"""The name; bytes of a local one that are not UTF-8 are written as `\udcff`, so that it can be printed and stored."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def list_files(root: str) -> list[Listed]:
    """All files below the root by name, without hidden files and folders and those that systems leave behind.

    Raises:
        ManifestError: no such folder or prefix.

    """
    found = _list_remote(root) if is_remote(root) else _list_local(root)
    kept = (_with_shown_name(item) for item in found if not any(map(is_left_out, item.path.split("/"))))
    return sorted(kept, key=lambda item: item.path)


def _with_shown_name(item: Listed) -> Listed:
    shown = show_name(item.path)
    return item if shown == item.path else Listed(shown, item.problem or NOT_UTF8)


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
        found += [Listed(os.path.join(relative, name), _LINKED) for name in linked]
    return found
