"""Run the project's own commands as a user would, in a process of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from mer_ray.core.errors import RunError


def run_command(arguments: Sequence[str]) -> float:
    """Seconds that `python -m ...` takes.

    Raises:
        RunError: it exits non-zero; with the end of its output.

    """
    start_s = perf_counter()
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - our own modules
    if done.returncode:
        tail = (done.stdout + done.stderr)[-2000:]
        raise RunError(f"bench: `{' '.join(arguments)}` exited {done.returncode}: {tail}")
    return perf_counter() - start_s


def checkout_file(path: str) -> Path:
    """A file of the repository, which figures about jobs and tests need.

    Raises:
        RunError: the command was not started in a checkout.

    """
    if not Path(path).exists():
        raise RunError(f"bench: {path} is not here; run `make bench` in the repository's folder")
    return Path(path)


@contextmanager
def changed_environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, also of child processes, for the block."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
