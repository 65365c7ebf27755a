"""Runs in every Ray worker of a test: signals the worker at a chosen moment of publishing, each moment once.

MER_RAY_TRAPS is a folder with files `<order>-<signal>-<when>-<number>`; a worker that starts takes the first of them by renaming
it to `taken-...`, and gets the signal `before` or `after` it publishes its `number`-th part (from 1); then the file is `sprung-...`.
"""

import os
import signal
import sys
from pathlib import Path

VARIABLE = "MER_RAY_TRAPS"


def install() -> None:
    """Lay the trap; no other worker gets it."""
    folder, trap, num_parts, num_published = Path(os.environ[VARIABLE]), "", 0, 0

    def publishes(name: str, arguments: tuple[object, ...]) -> str | None:
        """`before` the renaming of a part, `after` it, when its temporary file is cleared away."""
        if name == "os.rename" and is_part(str(arguments[1])):
            return "before"
        if name == "os.remove" and is_temporary(str(arguments[0])):
            return "after"
        return None

    def watch(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal trap, num_parts, num_published
        moment = publishes(name, arguments) if name in ("os.rename", "os.remove") else None
        if moment is None:
            return
        num_parts += moment == "before"
        num_published += moment == "after"
        # Taken with the first part, because Ray also starts workers that encode nothing.
        if num_parts == 1 and moment == "before":
            trap = take(folder)
        if trap:
            _, number_of_signal, when, number = trap.split("-")
            if moment == when and int(number) == (num_parts if when == "before" else num_published):
                os.rename(folder / f"taken-{trap}", folder / f"sprung-{trap}")
                os.kill(os.getpid(), signal.Signals(int(number_of_signal)))

    sys.addaudithook(watch)


def is_part(path: str) -> bool:
    return os.path.basename(path).startswith("part-")


def is_temporary(path: str) -> bool:
    return os.path.basename(path).startswith(".part-")


def take(folder: Path) -> str:
    for path in sorted(folder.glob("[0-9]*")):
        try:
            path.rename(path.with_name(f"taken-{path.name}"))
        except FileNotFoundError:
            continue
        return path.name
    return ""


def lay(folder: Path, moments: list[tuple[signal.Signals, str, int]]) -> dict[str, object]:
    """Write the traps; the `runtime_env` of the driver whose workers take them."""
    folder.mkdir()
    for order, (number, when, part) in enumerate(moments):
        (folder / f"{order:03d}-{int(number)}-{when}-{part}").touch()
    return {"worker_process_setup_hook": "worker_traps.install", "env_vars": {VARIABLE: str(folder)}}
