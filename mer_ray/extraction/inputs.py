"""The input hash: a short digest of what an encoder reads of a clip, so that a changed file is extracted again."""

import hashlib
import os
from collections.abc import Iterable

import fsspec

from mer_ray.core.media_types import Clip, Modality

ABSENT = "absent"


def source_path(clip: Clip, modality: Modality) -> str | None:
    """The file that holds a clip's sound or pictures; None for text and where there is no file."""
    own = {"audio": clip.audio_path, "vision": clip.video_path, "text": None}[modality]
    return own or (None if modality == "text" else clip.path)


def stamp_files(paths: Iterable[str]) -> dict[str, str]:
    """Size and modification time (local) or ETag (remote) of each file; `absent` where there is none.

    A remote folder is listed once, however many of its files are asked for.
    """
    wanted = sorted(set(paths))
    stamps = {path: _stamp_local(path) for path in wanted if "://" not in path}
    remote_folders = {path.rsplit("/", 1)[0] for path in wanted if "://" in path}
    for folder in sorted(remote_folders):
        filesystem, root = fsspec.core.url_to_fs(folder)
        scheme = folder.split("://", 1)[0]
        filesystem.invalidate_cache(root)
        try:
            entries = filesystem.ls(root, detail=True)
        except FileNotFoundError:
            entries = []
        for entry in entries:
            stamps[f"{scheme}://{entry['name']}"] = f"{entry['size']}:{entry.get('ETag') or entry.get('mtime')}"
    return {path: stamps.get(path, ABSENT) for path in wanted}


def _stamp_local(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return ABSENT
    return f"{status.st_size}:{status.st_mtime_ns}"


def input_hash(clip: Clip, modality: Modality, stamps: dict[str, str]) -> str:
    """16 hex digits over the file's stamp and the segment, or over the sentence."""
    if modality == "text":
        read = clip.text or ""
    else:
        path = source_path(clip, modality)
        read = f"{stamps[path] if path else ABSENT}|{clip.start_s}|{clip.end_s}"
    return hashlib.sha256(read.encode()).hexdigest()[:16]
