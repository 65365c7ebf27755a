"""The lines that start Ray on the machines of `ray up`, run on this one: ports, the folder of the session and the provider apart."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cluster_lines import RAY_UP_FILES, load
from ray._private.services import get_node_ip_address
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

TIMEOUT_S = 120
LOOK_AROUND = """
import json, os, ray
ray.init(address=os.environ["HEAD"], logging_level="ERROR", log_to_driver=False)
threads = ray.get(ray.remote(lambda: os.environ["OMP_NUM_THREADS"]).options(num_cpus=2).remote())
print(json.dumps({"threads": threads, "cpus": sorted(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])}))
"""


class Machine:
    """A home, and the processes that lines leave behind: each line is a session of its own, which ends with the test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sessions: set[int] = set()

    def run(self, line: str, **more: str) -> str:
        # `ray up` exports the first one before every line.
        own = {"OMP_NUM_THREADS": "1", "HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **more}
        log = self.home / "lines.log"
        with log.open("a") as written:
            shell = subprocess.Popen(["bash", "-c", line], cwd=self.home, env=own, stdout=written, stderr=written, start_new_session=True)
            self.sessions.add(shell.pid)
            assert shell.wait(timeout=TIMEOUT_S) == 0, f"{line}\n{log.read_text()[-3000:]}"
        return log.read_text()

    def end(self) -> None:
        left = [process for process in psutil.process_iter() if self._is_ours(process.pid)]
        for process in left:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, timeout=20)
        shutil.rmtree(self.home, ignore_errors=True)

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.getsid(pid) in self.sessions
        except (ProcessLookupError, PermissionError):
            return False


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Ray's sockets lie below it, and their paths must be short.
    machine = Machine(Path(tempfile.mkdtemp(prefix="mr")))
    try:
        yield machine
    finally:
        machine.end()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, outside of those that Ray gives its workers."""
    probes = [socket.socket() for _ in range(count * 4)]
    for probe in probes:
        probe.bind(("", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return [port for port in ports if not 10002 <= port <= 19999][:count]


def answer(url: str, token: str | None = None) -> int:
    """The status that a request gets once anybody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < deadline, f"{url}: nothing answers"
            time.sleep(0.2)


def bootstrap_config(address: str) -> str:
    """What `ray up` writes for the head, with a provider that starts nothing."""
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "head_node_id": FAKE_HEAD_NODE_ID,
        "gcs_address": address,
    }
    lists = ["cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"]
    lists += ["head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude", "rsync_filter"]
    config = {
        "cluster_name": "lines",
        "max_workers": 0,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1.0,
        "head_node_type": "head",
        "provider": provider,
        "available_node_types": {"head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists},
    }
    return json.dumps(config)


def test_both_clouds_start_ray_by_the_same_lines():
    first, second = (load(name) for name in RAY_UP_FILES)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert first[key] == second[key]


@pytest.mark.slow
@pytest.mark.ray
def test_start_lines_make_a_cluster_that_asks_for_the_token(machine: Machine):
    config = load(RAY_UP_FILES[0])
    head_line, worker_line = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    gcs, dashboard, client, *others = free_ports(7)
    ip = get_node_ip_address()
    token = "f" * 64
    (machine.home / "venv").symlink_to(sys.prefix)
    (machine.home / ".ray").mkdir()
    (machine.home / ".ray" / "auth_token").write_text(token)
    (machine.home / "ray_bootstrap_config.yaml").write_text(bootstrap_config(f"{ip}:{gcs}"))
    for line in config["setup_commands"]:
        if "> ~/.mer_ray_env" in line:
            machine.run(line)

    def here(line: str) -> str:
        ported = line.replace("--port=6379", f"--port={gcs}").replace("$RAY_HEAD_IP:6379", f"$RAY_HEAD_IP:{gcs}")
        ported = ported.replace("=8076", f"={others.pop()}") + f" --dashboard-agent-listen-port={others.pop()}"
        return f"{ported} --object-store-memory=100000000 --temp-dir={machine.home}/r"

    fake = {"RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID}
    # `ray up` names the head's resources in the same way.
    machine.run(
        f"{here(head_line)} --dashboard-port={dashboard} --ray-client-server-port={client}",
        **fake,
        RAY_OVERRIDE_RESOURCES='{"CPU": 0}',
    )
    machine.run(here(worker_line), RAY_HEAD_IP=ip)

    jobs = f"http://127.0.0.1:{dashboard}/api/jobs/"
    assert answer(jobs, token) == 200
    assert answer(jobs) == 401
    assert answer(jobs, "0" * 64) == 403
    if not ip.startswith("127."):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((ip, dashboard), timeout=5)

    look = f". ~/.mer_ray_env; {sys.executable} -c '{LOOK_AROUND}'"
    seen = json.loads(machine.run(look, HEAD=f"{ip}:{gcs}").strip().splitlines()[-1])
    assert seen["cpus"][0] == 0
    assert len(seen["cpus"]) == 2
    assert seen["threads"] == "2"

    shared = machine.home / "work"
    shared.mkdir()
    said = machine.run(f". ~/.mer_ray_env; mer-ray doctor --address http://127.0.0.1:{dashboard} --shared {shared}")
    assert "wants a token" in said
    assert "FAULT" not in said

    # What cluster/README.md and prometheus.yaml say of the metrics ports.
    targets = json.loads((machine.home / "r" / "prom_metrics_service_discovery.json").read_text())[0]["targets"]
    assert len(targets) >= 2
    assert answer(f"http://{targets[0]}/metrics") == 200
