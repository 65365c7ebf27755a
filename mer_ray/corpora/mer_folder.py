"""A folder of videos of the MER challenges, on disk or S3: the names in it, and which file is whose, matched by the whole stem.

`sample_1` begins `sample_10` too, so a search by prefix, as MERTools does it (`glob(name + "*")`), may give another clip's file.
"""

import posixpath
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from mer_ray.core.errors import ManifestError
from mer_ray.core.s3 import STORAGE_FAULTS, find_filesystem, what_happened
from mer_ray.corpora.files import VIDEO_SUFFIXES
from mer_ray.corpora.listing import is_left_out, show_name


@dataclass(frozen=True)
class VideoFolder:
    """Videos by stem, more than one file where suffixes differ; `others`: names of what is no video, or not UTF-8."""

    name: str
    files: Mapping[str, tuple[str, ...]]
    others: tuple[str, ...]

    def find_stem(self, name: str) -> str | None:
        """The stem that a name of a label file means: it is a stem, or exactly a file's name; None where there is no such file."""
        if name in self.files:
            return name
        stem = posixpath.splitext(name)[0]
        return stem if name in self.files.get(stem, ()) else None


def list_names(root: str, folder: str = "") -> tuple[str, ...] | None:
    """Names in a folder below the root, sorted, without what `is_left_out`; None where there is no such folder.

    Raises:
        ManifestError: the folder cannot be listed.

    """
    where = f"{root}/{folder}" if folder else root
    filesystem, path = find_filesystem(where)
    try:
        entries = filesystem.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except STORAGE_FAULTS as error:
        raise ManifestError(f"{where}: the folder cannot be listed: {what_happened(error)}") from error
    names = {entry.rstrip("/").rpartition("/")[2] for entry in entries if entry.rstrip("/") != path.rstrip("/")}
    return tuple(sorted(name for name in names if not is_left_out(name)))


def list_videos(root: str, folder: str) -> VideoFolder | None:
    """The videos of a folder below the root; None where there is no such folder.

    Raises:
        ManifestError: the folder cannot be listed.

    """
    names = list_names(root, folder)
    if names is None:
        return None
    files: dict[str, list[str]] = defaultdict(list)
    others = []
    for name in names:
        stem, suffix = posixpath.splitext(name)
        if suffix.lower() in VIDEO_SUFFIXES and show_name(name) == name:
            files[stem].append(name)
        else:
            others.append(show_name(name))
    return VideoFolder(folder, {stem: tuple(found) for stem, found in files.items()}, tuple(others))
