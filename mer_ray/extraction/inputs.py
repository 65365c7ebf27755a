"""The input hash: a short digest of what an encoder reads of a clip, so that a changed file is extracted again."""

import hashlib
import os
from collections.abc import Iterable, Mapping

from mer_ray.core.errors import ManifestError
from mer_ray.core.faces import StoredFaces
from mer_ray.core.media_types import Clip, FrameFormat, InputFormat, TextFormat
from mer_ray.core.s3 import STORAGE_FAULTS, s3_filesystem, what_happened
from mer_ray.decoders.remote import is_remote

ABSENT = "absent"


def source_path(clip: Clip, input_format: InputFormat) -> str | None:
    """The file that holds a clip's sound, pictures or face crops; None for text and where there is no file."""
    if isinstance(input_format, TextFormat):
        return None
    if isinstance(input_format, FrameFormat):
        return clip.faces_path if isinstance(input_format.faces, StoredFaces) else clip.video_path or clip.path
    return clip.audio_path or clip.path


def stamp_files(paths: Iterable[str]) -> dict[str, str]:
    """Size and modification time (local) or ETag (remote) of each file; `absent` where there is none.

    A remote folder is listed once, however many of its files are asked for.

    Raises:
        ManifestError: a remote folder cannot be listed.
        MediaError: a URL that is not of S3.

    """
    wanted = sorted(set(paths))
    stamps = {path: _stamp_local(path) for path in wanted if not is_remote(path)}
    remote_folders = {path.rsplit("/", 1)[0] for path in wanted if is_remote(path)}
    for folder in sorted(remote_folders):
        try:
            entries = s3_filesystem().ls(folder.removeprefix("s3://"), detail=True)
        except FileNotFoundError:
            entries = []
        except STORAGE_FAULTS as error:
            raise ManifestError(
                f"{folder}: cannot be listed: {what_happened(error)}; check that the place exists and that you may read it, "
                "AWS_ENDPOINT_URL and the AWS credentials"
            ) from error
        for entry in entries:
            if entry["type"] == "file":
                stamps[f"s3://{entry['name']}"] = f"{entry['size']}:{entry['ETag']}"
    return {path: stamps.get(path, ABSENT) for path in wanted}


def _stamp_local(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return ABSENT
    return f"{status.st_size}:{status.st_mtime_ns}"


def input_hash(clip: Clip, input_format: InputFormat, stamps: Mapping[str, str]) -> str:
    """16 hex digits over the file's stamp and the segment, or over the sentence."""
    if isinstance(input_format, TextFormat):
        read = clip.text or ""
    else:
        path = source_path(clip, input_format)
        read = f"{stamps[path] if path else ABSENT}|{clip.start_s}|{clip.end_s}"
    return hashlib.sha256(read.encode()).hexdigest()[:16]
