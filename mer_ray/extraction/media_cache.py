"""Remote media of a shard: fetched to the node at once, several files at a time, and dropped after the shard."""

import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from mer_ray.core.errors import ClusterError, MediaError
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import fetch_file
from mer_ray.extraction.shard_report import Fault

NUM_THREADS = 8
CACHE_FOLDER = "mer-ray-media"
# The machine's faults, not the file's.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS}
# So many files of one shard do not fail by chance.
MIN_OUTAGE_FILES = 3
MISSING = "no such file"

# Remote path -> the copy on this node, or why there is none.
Copies = Mapping[str, str | Fault]


@contextmanager
def fetched(paths: Collection[str], limits: MediaLimits) -> Iterator[Copies]:
    """Copies of remote files for the block; a file that cannot be fetched, after retries, is a fault of its own.

    Raises:
        ClusterError: this machine has no room for them.

    """
    if not paths:
        yield {}
        return
    folder = _cache_folder() / f"{os.getpid()}-{_start_time()}-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ClusterError(
            f"{folder.parent}: cannot hold copies of remote media: {error.strerror}; set TMPDIR to a folder that can"
        ) from error
    try:
        with ThreadPoolExecutor(NUM_THREADS) as executor:
            names = [str(folder / f"{number}{Path(path).suffix}") for number, path in enumerate(paths)]
            copies = list(executor.map(lambda path, name: _fetch(path, name, limits), paths, names))
        yield dict(zip(paths, copies, strict=True))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_leftovers() -> None:
    """Remove what killed workers of this node have left."""
    for folder in _cache_folder().glob("*"):
        owner = re.fullmatch(r"(\d+)-(\w+)-[0-9a-f]{32}", folder.name)
        if owner and not (psutil.pid_exists(int(owner[1])) and _start_time(int(owner[1])) == owner[2]):
            shutil.rmtree(folder, ignore_errors=True)


def refuse_outage(copies: Copies) -> None:
    """End the run where nothing of a shard could be fetched although it should be there: no clip is to blame for that.

    Raises:
        ClusterError: a storage or network that is away, or credentials that are void.

    """
    faults = [copy for copy in copies.values() if isinstance(copy, Fault)]
    if len(faults) >= MIN_OUTAGE_FILES and len(faults) == len(copies) and not any(MISSING in fault.message for fault in faults):
        raise ClusterError(f"none of the {len(faults)} media files of a shard could be fetched: {faults[0].message}; what is done is kept")


def _fetch(path: str, name: str, limits: MediaLimits) -> str | Fault:
    try:
        fetch_file(path, name, limits)
    except MediaError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in NO_ROOM:
                raise ClusterError(
                    f"{_cache_folder()}: {os.strerror(cause.errno)}: no room for remote media; free it, set TMPDIR to a larger disk, "
                    "or set a smaller media_cache_mb"
                ) from error
            cause = cause.__cause__ or cause.__context__
        return Fault("fetch", "MediaError", str(error))
    return name


def _cache_folder() -> Path:
    return Path(tempfile.gettempdir(), f"{CACHE_FOLDER}-{os.getuid()}")


def _start_time(pid: int | None = None) -> str:
    """Tells a process from a later one with the same number."""
    try:
        return f"{psutil.Process(pid).create_time() * 100:.0f}"
    except psutil.NoSuchProcess:
        return "gone"
