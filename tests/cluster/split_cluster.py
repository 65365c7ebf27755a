"""A Ray of two nodes with a network of their own between them, whose packets can be dropped: two namespaces and a cable, as root only."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from chaos_processes import started, wait_for, working

HEAD_IP, FAR_IP = "10.77.0.1", "10.77.0.2"
# The same name in both namespaces, so that one setting holds for the workers of both.
LINK = "link0"
PORT = 6379


def run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr.strip()}"
    return ended.stdout


def why_not() -> str | None:
    """Why this machine cannot have such a network."""
    if os.geteuid() != 0:
        return "network namespaces are root's"
    lacking = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if lacking:
        return f"no {' and no '.join(lacking)} on this machine (package iproute2)"
    try:
        with cable():
            pass
    except AssertionError as error:
        return f"this kernel lacks network namespaces or the blackhole qdisc: {error}"
    return None


@dataclass(frozen=True)
class Cable:
    """The only way between two namespaces."""

    near: str
    far: str

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Drop every packet, both ways and without a word to who sends it, while the block runs."""
        try:
            for namespace in (self.near, self.far):
                # As netem with a loss of 100 %, which many kernels lack.
                run("tc", "-n", namespace, "qdisc", "replace", "dev", LINK, "root", "blackhole")
            yield
        finally:
            for namespace in (self.near, self.far):
                run("tc", "-n", namespace, "qdisc", "del", "dev", LINK, "root")

    def count_dropped(self) -> dict[str, int]:
        """Packets dropped since the cut, by the namespace that sent them."""
        found = {}
        for namespace in (self.near, self.far):
            (queue,) = json.loads(run("tc", "-n", namespace, "-s", "-j", "qdisc", "show", "dev", LINK, "root"))
            found[namespace] = int(queue["drops"])
        return found


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    near, far = (f"mer{os.getpid()}{end}" for end in "ab")
    try:
        for namespace in (near, far):
            run("ip", "netns", "add", namespace)
        run("ip", "-n", near, "link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", far)
        for namespace, address, other in ((near, HEAD_IP, FAR_IP), (far, FAR_IP, HEAD_IP)):
            run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", LINK)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", LINK, "up")
            # Ray learns a node's address by asking which way the internet is.
            run("ip", "-n", namespace, "route", "add", "default", "via", other)
        made = Cable(near, far)
        with made.cut():
            made.count_dropped()
        yield made
    finally:
        for namespace in (near, far):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


@dataclass(frozen=True)
class SplitCluster:
    """A head and a far node of one CPU each; drivers run beside the head."""

    cable: Cable
    head: subprocess.Popen[str]
    far: subprocess.Popen[str]

    @contextlib.contextmanager
    def driver(self, words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
        """`mer-ray` with these words, in a process that ends with the block."""
        command = ["ip", "netns", "exec", self.cable.near, sys.executable, "-m", "mer_ray.cli", *words]
        with started(command, log, RAY_ADDRESS=f"{HEAD_IP}:{PORT}", GLOO_SOCKET_IFNAME=LINK) as process:
            yield process

    def working(self, *names: str) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """As `chaos_processes.working`, at the head and far from it."""
        return working(self.head.pid, *names), working(self.far.pid, *names)


@contextlib.contextmanager
def split_cluster(folder: Path) -> Iterator[SplitCluster]:
    # Sockets lie below it, whose paths must be short.
    temporary = tempfile.mkdtemp(prefix="mer-ray-", dir="/tmp")
    sessions, of_far = (tempfile.mkdtemp(dir=temporary) for _ in range(2))
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--object-store-memory=150000000", "--disable-usage-stats"]
    head_words = [
        "--block",
        "--head",
        f"--port={PORT}",
        f"--node-ip-address={HEAD_IP}",
        f"--temp-dir={sessions}",
        "--include-dashboard=false",
    ]
    far_words = ["--block", f"--address={HEAD_IP}:{PORT}", f"--node-ip-address={FAR_IP}"]
    # As on a machine of its own: in a folder that both see, each node writes its address over the other's.
    mounted = ["sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', of_far, sessions]

    @contextlib.contextmanager
    def node(namespace: str, words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[str]]:
        with started(["ip", "netns", "exec", namespace, *words], log, GLOO_SOCKET_IFNAME=LINK) as process:
            wait_for("a node", lambda: process.poll() is not None or "Ray runtime started" in log.read_text())
            assert process.poll() is None, log.read_text()
            yield process

    try:
        with (
            cable() as joined,
            node(joined.near, [*ray, *head_words], folder / "split-head.log") as head,
            node(joined.far, [*mounted, *ray, *far_words], folder / "split-far.log") as far,
        ):
            yield SplitCluster(joined, head, far)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
