"""Processes that chaos tests start and kill: clusters of their own, drivers of extractions, and the workers below a cluster."""

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 300.0
# Of workers, nodes and drivers each, in one extraction after the other; even, because two extractions at once share those of drivers.
NUM_KILLS = int(os.environ.get("KILLS", "6")) // 2 * 2
# Of the clusters of this test run, whatever token the machine has.
TOKEN = secrets.token_hex(16)


def environment() -> dict[str, str]:
    """What every process of ours sees: this checkout and the modules of these tests."""
    paths = [str(HERE), str(HERE.parents[1]), *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    own = {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        "HF_HUB_OFFLINE": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
    }
    return {**{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}, **own}


def say(text: str) -> None:
    """For who runs pytest with -s or -rP, and for the report of a failure."""
    sys.stdout.write(f"\n{text}\n")


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
    """Wait until the condition gives something true, and give that."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {timeout_s:.0f} s for {what}")


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end_tree(process: subprocess.Popen[Any]) -> None:
    """Kill a process that these tests started, and all below it."""
    below = descendants(process.pid)
    for victim in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.resume()
    if process.poll() is None:
        process.kill()
    for victim in [*below, *(found for old in below for found in descendants(old.pid))]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def working(pid: int, *names: str) -> list[psutil.Process]:
    """Ray workers below a process that execute something whose name holds one of `names` right now."""
    found = []
    for process in descendants(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            title = " ".join(process.cmdline())
            if title.startswith("ray::") and any(name in title for name in names) and not title.endswith("IDLE"):
                found.append(process)
    return found


def kill(process: psutil.Process) -> bool:
    """SIGKILL; False where the process was gone."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


class Driver:
    """One extraction in a process of its own."""

    def __init__(self, zygote: "Zygote", pid: int, log: Path) -> None:
        self.zygote, self.pid, self.log = zygote, pid, log
        self.code: int | None = None

    def poll(self) -> int | None:
        """None while it runs; 0 when it is through, 1 after an error of ours, negative when it was killed."""
        if self.code is None:
            self.code = self.zygote.ask({"poll": self.pid})
        return self.code

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        wait_for(f"driver {self.pid}, log: {self.log}", lambda: self.poll() is not None, timeout_s)
        assert self.code is not None
        return self.code

    def kill(self) -> bool:
        """SIGKILL; False where it had ended before."""
        if self.poll() is not None:
            return False
        os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL


class Zygote:
    """Forks drivers, see `extraction_zygote`; they have some more environment variables."""

    def __init__(self, address: str, folder: Path, **variables: str) -> None:
        self.address, self.folder = address, folder
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "extraction_zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), **variables},
            start_new_session=True,
        )
        self.num_started = 0

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, config: dict[str, Any], runtime_env: dict[str, Any] | None = None, trace_memory: Path | None = None) -> Driver:
        self.num_started += 1
        log = self.folder / f"driver-{self.process.pid}-{self.num_started}.log"
        more = {"address": self.address, "log": str(log), "runtime_env": runtime_env}
        return Driver(self, self.ask({"start": config, **more, "trace_memory": trace_memory and str(trace_memory)}), log)

    def run(self, config: dict[str, Any], **more: Any) -> Driver:
        """To its end, which must be a good one."""
        driver = self.start(config, **more)
        assert driver.wait() == 0, driver.log.read_text()[-3000:]
        return driver


@contextlib.contextmanager
def zygote(address: str, folder: Path, **variables: str) -> Iterator[Zygote]:
    forking = Zygote(address, folder, **variables)
    try:
        yield forking
    finally:
        end_tree(forking.process)


def free_port() -> int:
    """Outside the range from which Ray takes ports for its workers."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def started(command: Sequence[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, with some more environment variables, that ends with the block, as does all below it."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment(), **variables},
            start_new_session=True,
        )
        try:
            yield process
        finally:
            end_tree(process)


@contextlib.contextmanager
def ray_head(folder: Path) -> Iterator[tuple[str, int]]:
    """A Ray of four logical CPUs that outlives its drivers: its address, and the pid above all its processes."""
    port = free_port()
    # Sockets lie below it, whose paths must be short.
    temporary = tempfile.mkdtemp(prefix="mer-ray-", dir="/tmp")
    command = f"start --head --node-ip-address=127.0.0.1 --port={port} --num-cpus=4 --object-store-memory=300000000 --temp-dir={temporary}"
    command += " --include-dashboard=false --disable-usage-stats --block"
    try:
        with started([str(Path(sys.executable).with_name("ray")), *command.split()], folder / "head.log") as process:
            wait_for("the head", lambda: process.poll() is not None or "Ray runtime started" in (folder / "head.log").read_text())
            assert process.poll() is None, (folder / "head.log").read_text()
            yield f"127.0.0.1:{port}", process.pid
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
