"""Runs in every Ray worker of a test: signals the worker at a chosen moment of publishing, each moment once.

MER_RAY_TRAPS is a folder with files `<order>-<signal>-<when>-<number>`; a worker that starts takes the first of them by renaming
it to `taken-...`, and gets the signal `before` or `after` it publishes its `number`-th part (from 1); then the file is `sprung-...`
and holds the path.
"""

import os
import signal
import sys
import threading
from pathlib import Path

VARIABLE = "MER_RAY_TRAPS"
WITHIN = "MER_RAY_TRAPS_WITHIN"


def install() -> None:
    """Lay the trap; no other worker gets it."""
    folder, within = Path(os.environ[VARIABLE]), os.environ[WITHIN]
    trap, num_parts, num_published = "", 0, 0

    def watch(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal trap, num_parts, num_published
        moment, path = moment_of(name, arguments)
        if moment is None or within not in path:
            return
        num_parts += moment == "before"
        num_published += moment == "after"
        # Taken with the first part, because Ray also starts workers that encode nothing.
        if num_parts == 1 and moment == "before":
            trap = take(folder)
        if trap:
            _, number_of_signal, when, number = trap.split("-")
            if moment == when and int(number) == (num_parts if when == "before" else num_published):
                (folder / f"taken-{trap}").write_text(path)
                os.rename(folder / f"taken-{trap}", folder / f"sprung-{trap}")
                # To this very thread: sent to the process, it may come when this thread has gone on.
                signal.pthread_kill(threading.get_ident(), int(number_of_signal))

    sys.addaudithook(watch)


def moment_of(name: str, arguments: tuple[object, ...]) -> tuple[str | None, str]:
    """`before` the renaming of a part, `after` it, when its temporary file is cleared away, None for all else; and the path."""
    if name == "os.rename":
        path = str(arguments[1])
        return "before" if os.path.basename(path).startswith("part-") else None, path
    if name == "os.remove":
        path = str(arguments[0])
        return "after" if os.path.basename(path).startswith(".part-") else None, path
    return None, ""


def take(folder: Path) -> str:
    for path in sorted(folder.glob("[0-9]*")):
        try:
            path.rename(path.with_name(f"taken-{path.name}"))
        except FileNotFoundError:
            continue
        return path.name
    return ""


def lay(folder: Path, moments: list[tuple[signal.Signals, str, int]], within: str = "") -> dict[str, object]:
    """Write the traps; gives the `runtime_env` of the driver whose workers take them. Only parts whose path holds `within` count."""
    folder.mkdir()
    for order, (number, when, part) in enumerate(moments):
        (folder / f"{order:03d}-{int(number)}-{when}-{part}").touch()
    return {"worker_process_setup_hook": "worker_traps.install", "env_vars": {VARIABLE: str(folder), WITHIN: within}}
