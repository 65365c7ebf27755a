"""Files that appear in a store whole or not at all."""

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mer_ray.core.errors import StoreError
from mer_ray.core.s3 import STORAGE_FAULTS, what_happened
from mer_ray.store.layout import Store

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def publish(store: Store, path: str) -> Iterator[Path]:
    """Give a local temporary file to write; after the block it becomes `path` at once, after an exception it is gone.

    Locally it lies beside `path`, so that renaming is atomic; S3 shows an object only when its upload is complete. A
    file that exists is replaced.

    Raises:
        StoreError: the place cannot be written.

    """
    if store.is_local:
        target = Path(path)
        # A random name of our own rather than mkstemp, whose files no other user may read.
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        with explain_faults(store, path, "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield temporary
                _flush_to_disk(temporary)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
    else:
        with _temporary_folder(store, path) as folder:
            temporary = folder / Path(path).name
            yield temporary
            with explain_faults(store, path, "written"):
                store.filesystem.put_file(str(temporary), path)


def remove_file(store: Store, path: str) -> None:
    """Remove a file; one that is gone already is no fault.

    Raises:
        StoreError: it cannot be removed.

    """
    with explain_faults(store, path, "removed"), suppress(FileNotFoundError):
        store.filesystem.rm_file(path)


def remove_leftovers(store: Store, folder: str, min_age_s: float) -> int:
    """Remove what killed writers left of files that they never published: how many of at least this age there were.

    Locally these are temporary files, on S3 uploads of several pieces that were never completed, which no listing shows.

    Raises:
        StoreError: the place cannot be written.

    """
    with explain_faults(store, folder, "cleared of temporary files"):
        return _remove_temporaries(Path(folder), min_age_s) if store.is_local else _abort_uploads(store, folder, min_age_s)


def _remove_temporaries(folder: Path, min_age_s: float) -> int:
    num_removed = 0
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        # A file that is gone by now was renamed by its writer.
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= min_age_s:
                path.unlink()
                num_removed += 1
    return num_removed


def _abort_uploads(store: Store, folder: str, min_age_s: float) -> int:
    bucket, prefix, _ = store.filesystem.split_path(folder)
    num_removed = 0
    more: dict[str, str] = {}
    while True:
        answer = store.filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/", **more)
        for upload in answer.get("Uploads", ()):
            if time.time() - upload["Initiated"].timestamp() >= min_age_s:
                with suppress(FileNotFoundError):
                    store.filesystem.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                    num_removed += 1
        if not answer.get("IsTruncated"):
            return num_removed
        more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def check_writable(store: Store) -> None:
    """Write and remove a small file, so that a store that cannot be written fails before anything is computed.

    Raises:
        StoreError: the place cannot be written.

    """
    path = f"{store.root}/.writable-{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
    with explain_faults(store, store.root, "written"):
        if store.is_local:
            Path(store.root).mkdir(parents=True, exist_ok=True)
        store.filesystem.pipe_file(path, b"")
        store.filesystem.rm_file(path)


@contextmanager
def explain_faults(store: Store, path: str, action: str) -> Iterator[None]:
    """Turn the faults of disks, networks and credentials into one line that names the file.

    Raises:
        StoreError: the block failed with such a fault.

    """
    try:
        yield
    except STORAGE_FAULTS as error:
        raise StoreError(
            f"{store.locate(path)}: cannot be {action}: {what_happened(error)}; check that the place exists, "
            "that you may use it and that it has room" + ("" if store.is_local else ", and AWS_ENDPOINT_URL and the AWS credentials")
        ) from error


def read_if_there(store: Store, path: str) -> bytes | None:
    """The content of a small file; None where there is none.

    Raises:
        StoreError: it cannot be read.

    """
    with explain_faults(store, path, "read"):
        try:
            content: bytes = store.filesystem.cat_file(path)
        except FileNotFoundError:
            return None
        return content


@contextmanager
def _temporary_folder(store: Store, path: str) -> Iterator[Path]:
    """Where a file is made before it is uploaded: a full disk here is no fault of S3."""
    try:
        with tempfile.TemporaryDirectory(prefix="mer-ray-store-") as folder:
            yield Path(folder)
    except OSError as error:
        raise StoreError(
            f"{store.locate(path)}: not written: its temporary file in {os.environ.get('TMPDIR', tempfile.gettempdir())} cannot be made: "
            f"{what_happened(error)}; make room there, or set TMPDIR to a folder on another disk"
        ) from error


def _flush_to_disk(path: Path) -> None:
    """After a power cut a renamed file must not be an empty one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
