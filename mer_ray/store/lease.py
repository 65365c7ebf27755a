"""Who works on an encoder's parts at the moment: `_lease-<scope>.json`, kept fresh while the work goes on.

Reading and writing need no lease to be right, because parts are published whole and read once. A lease spares two runs the
same work, and keeps a removal apart from all that could write the removed rows again.

A lease that was not kept fresh for DEAD_AFTER_S by the clock of the storage is void, as is one whose process is gone from
this very machine; the next who needs it takes it over.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store
from mer_ray.store.owned_file import OwnedFile, SeenFile, look, take
from mer_ray.store.parts import list_files
from mer_ray.store.publishing import remove_file

LEASE_PREFIX = "_lease-"
BEAT_S = 15.0
DEAD_AFTER_S = 90.0
MAX_TRIES = 5

_FACTS = {"token", "work", "host", "pid", "started", "machine", "process_start"}
_COMPACTION = "compaction-"
_REMOVAL = "removal"


@dataclass
class _Lease:
    path: str
    facts: dict[str, Any]
    file: OwnedFile
    fresh_s: float = field(default_factory=time.monotonic)


class Leases:
    """The leases of one piece of work, kept fresh by a thread of their own."""

    def __init__(self, store: Store, leases: Sequence[_Lease]) -> None:
        self._store, self._leases = store, leases
        self._lost: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="mer-ray-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that all leases are still held.

        Raises:
            StoreError: one was taken over, or could not be kept fresh for so long that another may take it.

        """
        for lease in self._leases:
            if self._lost is None and time.monotonic() - lease.fresh_s > DEAD_AFTER_S:
                self._lose(lease, f"it could not be kept fresh for {DEAD_AFTER_S:.0f} s")
        if self._lost is not None:
            raise StoreError(self._lost)

    def _beat(self) -> None:
        beats = 0
        while not self._ended.wait(BEAT_S) and self._lost is None:
            beats += 1
            for lease in self._leases:
                # Storage that does not answer now may answer the next time; `check` says when that took too long.
                with suppress(StoreError, OSError):
                    if lease.file.refresh(_text(lease.facts, beats)):
                        lease.fresh_s = time.monotonic()
                    else:
                        self._lose(lease, "another run has taken it over")

    def _lose(self, lease: _Lease, reason: str) -> None:
        self._lost = (
            f"{self._store.locate(lease.path)}: this run no longer holds its lease: {reason}; what it has written is kept; "
            "start again once no other run works on this encoder"
        )

    def _release(self) -> None:
        self._ended.set()
        self._thread.join()
        _remove(self._leases)


@contextmanager
def hold_leases(store: Store, corpus: str, keys: Sequence[str], part: tuple[int, int] = (1, 1)) -> Iterator[Leases]:
    """Hold the leases of part i of n of several encoders while the block runs; all or none.

    Raises:
        StoreError: another extraction of the same part, or one cut into another number of parts, or a removal is running.

    """
    with _hold(store, [store.part_folder(corpus, key, "features") for key in keys], "{}-of-{}".format(*part)) as leases:
        yield leases


@contextmanager
def hold_compaction(store: Store, corpus: str, key: str) -> Iterator[Leases]:
    """Hold the lease of a compaction: it may run beside all but a removal.

    Raises:
        StoreError: a removal is running.

    """
    with _hold(store, [store.part_folder(corpus, key, "features")], f"{_COMPACTION}{uuid.uuid4().hex[:8]}") as leases:
        yield leases


@contextmanager
def hold_removal(store: Store, folders: Sequence[str]) -> Iterator[Leases]:
    """Hold the leases of a removal from these folders of features: nothing may run beside it.

    Raises:
        StoreError: anything else is running.

    """
    with _hold(store, folders, _REMOVAL) as leases:
        yield leases


def list_leases(store: Store, folder: str) -> list[tuple[str, str, bool]]:
    """Each lease in a folder of features: its path, who holds it, and whether it is alive.

    Raises:
        StoreError: the folder or a lease cannot be read.

    """
    found = []
    for scope in _list_scopes(store, folder):
        path = _path(folder, scope)
        seen = look(store, path)
        if seen is not None:
            found.append((path, _describe(scope, seen), not _is_dead(seen)))
    return found


@contextmanager
def _hold(store: Store, folders: Sequence[str], scope: str) -> Iterator[Leases]:
    taken: list[_Lease] = []
    try:
        for folder in sorted(folders):
            taken.append(_take(store, folder, scope))
            _refuse_conflicts(store, folder, scope)
            _remove_void(store, folder, scope)
    except BaseException:
        _remove(taken)
        raise
    leases = Leases(store, taken)
    try:
        yield leases
    finally:
        leases._release()


def _take(store: Store, folder: str, scope: str) -> _Lease:
    path = _path(folder, scope)
    for _ in range(MAX_TRIES):
        seen = look(store, path)
        if seen is not None and not _is_dead(seen):
            raise StoreError(_refusal(store, path, scope, scope, seen))
        facts = _my_facts(scope)
        file = take(store, path, _text(facts, 0), seen)
        if file is not None:
            return _Lease(path, facts, file)
    raise StoreError(f"{store.locate(path)}: other runs take this lease at the same moment; start again when they have ended")


def _refuse_conflicts(store: Store, folder: str, scope: str) -> None:
    """Looked for after one's own lease lies there: of two that start together at least one sees the other."""
    for other in _list_scopes(store, folder):
        if other != scope and _conflict(scope, other):
            path = _path(folder, other)
            seen = look(store, path)
            # Workers may outlive their driver for a while: a removal waits for them.
            is_over = seen is None or (seen.age_s > DEAD_AFTER_S if scope == _REMOVAL else _is_dead(seen))
            if seen is not None and not is_over:
                raise StoreError(_refusal(store, path, scope, other, seen))


def _remove_void(store: Store, folder: str, scope: str) -> None:
    """Remove dead leases that nobody can be about to take over."""
    for other in _list_scopes(store, folder):
        path = _path(folder, other)
        if other != scope and (scope == _REMOVAL or other.startswith(_COMPACTION)):
            seen = look(store, path)
            if seen is not None and _is_dead(seen):
                remove_file(store, path)


def _conflict(scope: str, other: str) -> bool:
    if _REMOVAL in (scope, other):
        return True
    if scope.startswith(_COMPACTION) or other.startswith(_COMPACTION):
        return False
    # Parts of the same cut share no clip; of two cuts any part may share some with any other.
    return scope.rpartition("-")[2] != other.rpartition("-")[2]


def _remove(leases: Sequence[_Lease]) -> None:
    for lease in leases:
        # One that cannot be removed now is void by itself in a while, and must not hide why the work ended.
        with suppress(StoreError, OSError):
            lease.file.remove()


def _is_dead(seen: SeenFile) -> bool:
    if seen.age_s > DEAD_AFTER_S:
        return True
    facts = _parse(seen)
    machine = _machine()
    if machine is None or facts.get("machine") != machine:
        return False
    is_gone: bool = _process_start(facts["pid"]) != facts["process_start"]
    return is_gone


def _machine() -> str | None:
    """What tells that process numbers mean the same processes: the start of the machine and the container; None where unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _process_start(pid: int) -> str | None:
    """When a process of this machine started; None for one that is gone. Its number alone may be another's by now."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def _my_facts(scope: str) -> dict[str, Any]:
    return {
        "token": uuid.uuid4().hex,
        "work": _work(scope),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "process_start": _process_start(os.getpid()),
    }


def _text(facts: dict[str, Any], heartbeat: int) -> str:
    return json.dumps({**facts, "heartbeat": heartbeat})


def _parse(seen: SeenFile) -> dict[str, Any]:
    """What a lease says; nothing while its owner has created, but not yet written it, or where it is none of ours."""
    try:
        facts = json.loads(seen.text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) and facts.keys() >= _FACTS else {}


def _list_scopes(store: Store, folder: str) -> list[str]:
    names = [path.rsplit("/", 1)[-1] for path in list_files(store, folder)]
    return sorted(name.removeprefix(LEASE_PREFIX).removesuffix(".json") for name in names if name.startswith(LEASE_PREFIX))


def _path(folder: str, scope: str) -> str:
    return f"{folder}/{LEASE_PREFIX}{scope}.json"


def _work(scope: str) -> str:
    if scope == _REMOVAL:
        return "a removal of clips"
    return "a compaction" if scope.startswith(_COMPACTION) else f"the extraction of part {scope.replace('-of-', '/')}"


def _describe(scope: str, seen: SeenFile) -> str:
    facts = _parse(seen)
    who = f"process {facts['pid']} on {facts['host']} since {facts['started']}" if facts else "a process that has not said who it is"
    return f"{_work(scope)} by {who}, last sign of life {max(0.0, seen.age_s):.0f} s ago"


def _refusal(store: Store, path: str, scope: str, other: str, seen: SeenFile) -> str:
    cut = "" if scope == other or not scope[:1].isdigit() or not other[:1].isdigit() else " (another cut into parts)"
    return (
        f"{store.locate(path)}: {_work(scope)} cannot start beside {_describe(other, seen)}{cut}; wait until it ends, or stop it; "
        f"if its machine is gone, start again in {max(1.0, DEAD_AFTER_S - seen.age_s):.0f} s"
    )
