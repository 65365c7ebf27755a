"""Runs in every Ray worker of a test: signals the worker at a chosen moment of publishing, each moment once.

MER_RAY_TRAPS is a folder with files `<order>-<signal>-<when>-<number>`; a worker that starts takes the first of them by renaming
it to `taken-...`, and gets the signal `before` or `after` it publishes its `number`-th part (from 1); then the file is `sprung-...`.
"""

import os
import signal
import sys
from pathlib import Path

VARIABLE = "MER_RAY_TRAPS"
WITHIN = "MER_RAY_TRAPS_WITHIN"


def install() -> None:
    """Lay the trap; no other worker gets it."""
    folder, within = Path(os.environ[VARIABLE]), os.environ[WITHIN]
    trap, num_parts, num_published = "", 0, 0

    def watch(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal trap, num_parts, num_published
        moment = moment_of(name, arguments, within)
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


def moment_of(name: str, arguments: tuple[object, ...], within: str) -> str | None:
    """`before` the renaming of a part, `after` it, when its temporary file is cleared away; None for all else."""
    if name == "os.rename":
        path, moment = str(arguments[1]), "before"
    elif name == "os.remove":
        path, moment = str(arguments[0]), "after"
    else:
        return None
    is_part = os.path.basename(path).startswith("part-" if moment == "before" else ".part-")
    return moment if is_part and within in path else None


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
