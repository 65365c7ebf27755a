"""Remote media of a shard: fetched to the node at once, several files at a time, and dropped after the shard."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from mer_ray.core.errors import MediaError
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import fetch_file
from mer_ray.extraction.shard_report import Fault

NUM_THREADS = 8
CACHE_FOLDER = "mer-ray-media"

# Remote path -> the copy on this node, or why there is none.
Copies = Mapping[str, str | Fault]


@contextmanager
def fetched(paths: Collection[str], limits: MediaLimits) -> Iterator[Copies]:
    """Copies of remote files for the block; a file that cannot be fetched, after retries, is a fault of its own."""
    if not paths:
        yield {}
        return
    folder = _cache_folder() / f"{os.getpid()}-{_start_time()}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(NUM_THREADS) as executor:
            names = [str(folder / f"{number}{Path(path).suffix}") for number, path in enumerate(paths)]
            copies = list(executor.map(lambda path, name: _fetch(path, name, limits), paths, names))
        yield dict(zip(paths, copies, strict=True))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_leftovers() -> None:
    """Remove what killed workers of this node have left."""
    for folder in _cache_folder().glob("*-*-*"):
        pid, start, _ = folder.name.split("-")
        if not (psutil.pid_exists(int(pid)) and _start_time(int(pid)) == start):
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(path: str, name: str, limits: MediaLimits) -> str | Fault:
    try:
        fetch_file(path, name, limits)
    except MediaError as error:
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
