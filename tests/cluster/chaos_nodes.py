"""A Ray of a head without CPUs and two nodes that tests may kill."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chaos_processes import HERE, started, wait_for


class Nodes:
    """A cluster of a head and two workers, see `node_cluster`."""

    def __init__(self, process: subprocess.Popen[str], answers: Path) -> None:
        self.process, self.answers, self._num_heard = process, answers, 0
        self.address = self._next_answer()

    def _next_answer(self) -> str:
        def answer() -> str | None:
            assert self.process.poll() is None, "the cluster's process has ended"
            lines = self.answers.read_text().splitlines() if self.answers.exists() else []
            return lines[self._num_heard] if len(lines) > self._num_heard else None

        found = str(wait_for("the cluster", answer))
        self._num_heard += 1
        return found

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def replace(self, node: int) -> None:
        """Kill a node, wait until a new one is there."""
        self._tell(f"replace {node}")
        assert self._next_answer() == f"killed {node}"
        assert self._next_answer() == f"replaced {node}"

    def remove(self, node: int) -> None:
        """Kill a node for good."""
        self._tell(f"remove {node}")
        assert self._next_answer() == f"killed {node}"

    def add(self, node: int) -> None:
        """Put a node in the place of one that was removed."""
        self._tell(f"add {node}")
        assert self._next_answer() == f"added {node}"

    def drain(self, node: int) -> None:
        """Give notice that a node goes in a minute, as a cloud does of a spot machine."""
        self._tell(f"drain {node}")
        assert self._next_answer() == f"drained {node}"


@contextlib.contextmanager
def node_cluster(folder: Path, num_cpus: int) -> Iterator[Nodes]:
    """A cluster whose two nodes have so many CPUs each."""
    with tempfile.TemporaryDirectory(prefix="mer-ray-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        answers = folder / f"nodes-{num_cpus}.txt"
        command = [sys.executable, str(HERE / "node_cluster.py"), str(answers), str(num_cpus)]
        # Ray notes in RAY_TMPDIR which cluster was started last, and other tests must not find it.
        with started(command, folder / f"nodes-{num_cpus}.log", RAY_TMPDIR=temporary) as process:
            yield Nodes(process, answers)
