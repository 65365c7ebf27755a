"""Clusters with an autoscaler on this machine, their clients, and what is seen of them.

Clients are processes of their own: Ray reads the mode of authentication when it is imported.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import yaml
from chaos_processes import HERE, descendants, end_tree, wait_for
from local_cluster import LocalCluster, local_cluster

NUM_NODES = 3
IDLE_S = 6.0
TIMEOUT_S = 240.0
AUTOSCALES_TO = json.dumps({"CPU": NUM_NODES, "GPU": NUM_NODES})


@dataclass(frozen=True)
class Look:
    """What was seen at a moment: nodes with a GPU, and GPUs of standing requests and of tasks and actors that wait."""

    at: float
    nodes: int
    requested: float
    waiting: float


class Watch:
    """Looks at a cluster in a process of its own."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def looks(self) -> list[Look]:
        lines = self._notes.read_text().splitlines(keepends=True) if self._notes.exists() else []
        return [Look(**json.loads(line)) for line in lines if line.endswith("\n")]

    def wait_for_nodes(self, count: int) -> Look:
        """The look at which so many were there."""

        def found() -> Look | None:
            looks = self.looks()
            return looks[-1] if looks and looks[-1].nodes == count else None

        return wait_for(f"{count} nodes", found, TIMEOUT_S)


class Client:
    """Runs commands as a user of the cluster."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self._num_started = 0

    @property
    def environment(self) -> dict[str, str]:
        own = {
            **checkout(),
            **self.cluster.environment,
            "RAY_ADDRESS": self.cluster.gcs_address,
            "RAY_API_SERVER_ADDRESS": self.cluster.api_url,
            "MER_RAY_AUTOSCALES_TO": AUTOSCALES_TO,
        }
        return {**{name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}, **own}

    @contextlib.contextmanager
    def started(self, arguments: Sequence[str]) -> Iterator["Command"]:
        """`python ...`; ends with the block."""
        self._num_started += 1
        log = self.folder / f"command-{self._num_started}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            yield Command(process, log)
        finally:
            end_tree(process)

    def mer_ray(self, *arguments: str) -> contextlib.AbstractContextManager["Command"]:
        return self.started(["-m", "mer_ray.cli", *arguments])

    @contextlib.contextmanager
    def watched(self) -> Iterator[Watch]:
        notes = self.folder / f"watch-{self._num_started}.jsonl"
        with self.started([str(HERE / "cluster_watch.py"), str(notes)]) as command:
            wait_for("the watch", lambda: notes.exists() or command.process.poll() is not None)
            assert command.process.poll() is None, command.output
            yield Watch(notes)


@dataclass(frozen=True)
class Command:
    process: "subprocess.Popen[str]"
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self) -> None:
        """To its end, which must be a good one."""
        wait_for(f"{self.process.args}, log: {self.log}", lambda: self.process.poll() is not None, TIMEOUT_S)
        assert self.process.returncode == 0, self.output[-4000:]


@contextlib.contextmanager
def client_of_new_cluster(folder: Path) -> Iterator[Client]:
    """A cluster of no node yet, which may have three with a GPU each."""
    # Sockets lie below it, whose paths must be short.
    with (
        tempfile.TemporaryDirectory(prefix="mer-ray-", dir="/tmp", ignore_cleanup_errors=True) as name,
        local_cluster(Path(name), gpu_nodes=NUM_NODES, idle_s=IDLE_S, environment=checkout()) as cluster,
    ):
        yield Client(cluster, folder)


def checkout() -> dict[str, str]:
    """This checkout, whatever is installed; small models are quickest on one thread."""
    paths = [str(HERE.parents[1]), *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    return {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}


def write_config(path: Path, values: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(values))
    return str(path)


def count_rows(store: Path) -> Counter[str]:
    """How often each clip lies in the features of a store, told by plain Parquet."""
    found: Counter[str] = Counter()
    for path in store.glob("*/features/*/*.parquet"):
        with pq.ParquetFile(path) as file:
            found.update(file.read(["clip_id"])["clip_id"].to_pylist())
    return found


def published_at(store: Path) -> list[float]:
    """When each part of features came, in order."""
    return sorted(path.stat().st_mtime for path in store.glob("*/features/*/*.parquet"))


def raylet_of(process: psutil.Process) -> psutil.Process | None:
    """The process above all others of a node."""
    return next((above for above in process.parents() if above.name() == "raylet"), None)


def take_node(raylet: psutil.Process, grace_s: float) -> None:
    """As clouds take spot machines: a notice to end, and the end for whatever has not."""
    all_of_it = [raylet, *descendants(raylet.pid)]
    raylet.terminate()
    time.sleep(grace_s)
    for process in all_of_it:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
