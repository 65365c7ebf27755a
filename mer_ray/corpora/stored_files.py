"""The files of a corpus, on disk or S3: whether they are there, how large, and whether two hold the same bytes."""

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mer_ray.core.manifest import resolve_path
from mer_ray.core.s3 import find_filesystem
from mer_ray.corpora.paths import LINK_ADVICE, is_remote, parent_of, why_linked_outside

# Files of one size rarely begin alike, so few are read to their end; a smaller head would not save S3 anything.
HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class FileFault:
    """Why a file cannot be read, and what is allowed; `is_missing`: there is none."""

    what: str
    allowed: str
    is_missing: bool = False


def find_files(paths: Iterable[str], root: str) -> dict[str, int | FileFault]:
    """The size in bytes of each path below the root, or why it cannot be read. A remote folder is listed once."""
    wanted = sorted(set(paths))
    if is_remote(root):
        sizes = _remote_sizes({parent_of(resolve_path(root, path)) for path in wanted})
        missing = FileFault("no such object", f"an object below {root}", is_missing=True)
        return {path: sizes.get(resolve_path(root, path), missing) for path in wanted}
    return {path: _local_size(path, root) for path in wanted}


def _local_size(path: str, root: str) -> int | FileFault:
    linked = why_linked_outside(path, root)
    if linked:
        return FileFault(linked, f"files that lie in {root}; {LINK_ADVICE}")
    full = resolve_path(root, path)
    try:
        status = os.stat(full)
        if not stat.S_ISREG(status.st_mode):
            return FileFault("is not a file", f"a file below {root}")
        with open(full, "rb"):
            return status.st_size
    except FileNotFoundError:
        return FileFault("no such file", f"a file below {root}", is_missing=True)
    except OSError as error:
        return FileFault(f"cannot be opened: {error.strerror}", "a file that may be read")


def _remote_sizes(folders: Iterable[str]) -> dict[str, int | FileFault]:
    sizes: dict[str, int | FileFault] = {}
    for folder in sorted(folders):
        filesystem, prefix = find_filesystem(folder)
        try:
            entries = filesystem.ls(prefix, detail=True)
        except FileNotFoundError:
            continue
        sizes |= {f"s3://{entry['name']}": int(entry["size"]) for entry in entries if entry["type"] == "file"}
    return sizes


def group_by_content(sizes: Mapping[str, int], root: str, num_threads: int) -> dict[str, int]:
    """A number per content: paths whose files hold the same bytes get the same one.

    Compares sizes, then a sha256 of the first bytes, then a sha256 of all bytes, and reads no more than that needs.

    Raises:
        OSError: a file went away or cannot be read.

    """
    groups = _alike(list(sizes), sizes)
    with ThreadPoolExecutor(num_threads) as pool:
        for max_bytes in (HEAD_BYTES, None):
            doubtful = [path for group in groups if len(group) > 1 for path in group]
            digests = dict(zip(doubtful, pool.map(lambda path: _sha256(resolve_path(root, path), max_bytes), doubtful), strict=True))  # noqa: B023 - used within the turn
            groups = [part for group in groups for part in (_alike(group, digests) if len(group) > 1 else [group])]
    return {path: number for number, group in enumerate(groups) for path in group}


def _alike(paths: list[str], marks: Mapping[str, int | str]) -> list[list[str]]:
    groups = defaultdict(list)
    for path in paths:
        groups[marks[path]].append(path)
    return list(groups.values())


def _sha256(path: str, max_bytes: int | None) -> str:
    digest = hashlib.sha256()
    filesystem, name = find_filesystem(path)
    with filesystem.open(name, "rb", block_size=max_bytes or CHUNK_BYTES) as file:
        if max_bytes is not None:
            digest.update(file.read(max_bytes))
        else:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
