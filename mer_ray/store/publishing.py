"""Files that appear in a store whole or not at all."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import botocore.exceptions

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store

TEMPORARY_SUFFIX = ".tmp"
# What disks, networks and S3 raise. s3fs lets botocore's own errors through, which are no OSError.
STORAGE_FAULTS = (OSError, botocore.exceptions.BotoCoreError)


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
        with tempfile.TemporaryDirectory(prefix="mer-ray-store-") as folder, explain_faults(store, path, "written"):
            temporary = Path(folder, Path(path).name)
            yield temporary
            store.filesystem.put_file(str(temporary), path)


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
            f"{store.locate(path)}: cannot be {action}: {str(error) or type(error).__name__}; check that the place exists, "
            "that you may use it and that it has room" + ("" if store.is_local else ", and AWS_ENDPOINT_URL and the AWS credentials")
        ) from error


def _flush_to_disk(path: Path) -> None:
    """After a power cut a renamed file must not be an empty one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
