"""A file that one process owns: created only where there is none, kept fresh, handed on only from a state that was seen.

How old a file is, is told by the clock of the storage that holds it, so that clocks of machines may differ. Locally the
owner keeps its file open: who finds another file under the path has lost it. On S3 every write is a conditional put.
"""

import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store
from mer_ray.store.publishing import TEMPORARY_SUFFIX, explain_faults, remove_file

# A claim is held for a moment; an older one belongs to a process that was killed in that moment.
CLAIM_AGE_S = 90.0
_REFUSALS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404")


@dataclass(frozen=True)
class SeenFile:
    """What lay there when it was looked at: its text, and the seconds since its owner last kept it fresh."""

    text: str
    age_s: float
    version: str


class OwnedFile(Protocol):
    """A file while this process owns it."""

    def refresh(self, text: str) -> bool:
        """Keep it fresh; False where it is another's by now. `text` differs from time to time."""

    def remove(self) -> None:
        """Remove it if it still is this process's."""


def look(store: Store, path: str) -> SeenFile | None:
    """Look at a file of any owner; None where there is none.

    Raises:
        StoreError: it cannot be read.

    """
    with explain_faults(store, path, "read"):
        try:
            return _look_locally(Path(path)) if store.is_local else _look_on_s3(store, path)
        except FileNotFoundError:
            return None


def take(store: Store, path: str, text: str, seen: SeenFile | None) -> OwnedFile | None:
    """Make the file this process's: create it where none was seen, else replace the one seen; None where another was quicker.

    Raises:
        StoreError: it cannot be written.

    """
    with explain_faults(store, path, "written"):
        if store.is_local:
            return _create_locally(Path(path), text) if seen is None else _replace_locally(Path(path), text, seen)
        condition = {"IfNoneMatch": "*"} if seen is None else {"IfMatch": seen.version}
        version = _put(store, path, text, condition)
        return None if version is None else _S3File(store, path, version)


@dataclass
class _LocalFile:
    path: Path
    descriptor: int

    def refresh(self, text: str) -> bool:
        # The time only: a write could fall on a file that another has put there meanwhile.
        os.utime(self.descriptor)
        return self._is_there()

    def remove(self) -> None:
        try:
            if self._is_there():
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self.descriptor)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False


@dataclass
class _S3File:
    store: Store
    path: str
    version: str

    def refresh(self, text: str) -> bool:
        with explain_faults(self.store, self.path, "written"):
            version = _put(self.store, self.path, text, {"IfMatch": self.version})
        self.version = version or ""
        return version is not None

    def remove(self) -> None:
        seen = look(self.store, self.path)
        if seen is not None and seen.version == self.version:
            remove_file(self.store, self.path)


def _look_locally(path: Path) -> SeenFile:
    # The version first: a file that comes between is then not taken for the one whose text was read.
    version, text = _version(path), path.read_text(encoding="utf-8", errors="replace")
    if version is None:
        raise FileNotFoundError(path)
    return SeenFile(text, _local_clock(path.parent) - path.stat().st_mtime, version)


def _version(path: Path) -> str | None:
    """Another one for another file and after each sign of life; None where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return f"{status.st_dev}-{status.st_ino}-{status.st_ctime_ns}"


def _local_clock(folder: Path) -> float:
    """The present by the clock that gives this folder's files their times: on network disks that of the server."""
    probe = folder / f".clock-{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
    try:
        probe.touch(exist_ok=False)
        modified_s = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
    except OSError:
        # Who may not write here can take nothing either: the age is only shown.
        return time.time()
    return modified_s


def _create_locally(path: Path, text: str) -> _LocalFile | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return None
    return _LocalFile(path, _write(descriptor, path, text))


def _replace_locally(path: Path, text: str, seen: SeenFile) -> _LocalFile | None:
    """Replace under a claim, a file of its own that only one taker can create."""
    claim = path.with_name(f".{path.name}.claim{TEMPORARY_SUFFIX}")
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        with suppress(FileNotFoundError):
            if _local_clock(path.parent) - claim.stat().st_mtime > CLAIM_AGE_S:
                claim.unlink()
        return None
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        if _version(path) != seen.version:
            return None
        descriptor = _write(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), temporary, text)
        os.replace(temporary, path)
        return _LocalFile(path, descriptor)
    finally:
        temporary.unlink(missing_ok=True)
        claim.unlink(missing_ok=True)


def _write(descriptor: int, path: Path, text: str) -> int:
    """Write into a file just created, and leave none behind where the disk is full."""
    try:
        os.write(descriptor, text.encode())
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def _look_on_s3(store: Store, path: str) -> SeenFile:
    bucket, key, _ = store.filesystem.split_path(path)
    # Text, version and both times from one answer: in two, another's file could come between.
    answer = store.filesystem.call_s3("head_object", Bucket=bucket, Key=key)
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        raise StoreError(f"{store.locate(path)}: the S3 server does not tell the time (no Date in its answer); leases need it")
    age_s = (parsedate_to_datetime(date) - answer["LastModified"]).total_seconds()
    return SeenFile(answer["Metadata"].get("text", ""), age_s, answer["ETag"])


def _put(store: Store, path: str, text: str, condition: dict[str, str]) -> str | None:
    """Put if the condition holds: the new version, or None where it does not hold."""
    bucket, key, _ = store.filesystem.split_path(path)
    try:
        answer = store.filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=text.encode(), Metadata={"text": text}, **condition)
    except OSError as error:
        if not _is_refusal(error):
            raise
        # A put that arrived, but whose answer was lost, is tried again and then meets itself.
        seen = look(store, path)
        return seen.version if seen is not None and seen.text == text else None
    return str(answer["ETag"])


def _is_refusal(error: BaseException) -> bool:
    response: Any = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in _REFUSALS
