"""A Ray cluster on one machine: a head without CPUs, an autoscaler, nodes with logical GPUs that come when work waits and go when idle.

`make cluster` runs it until Ctrl-C. The dashboard listens on loopback, and all of it wants the token that it writes. Logical GPUs compute
on CPUs: they show where work would run, not how fast.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

HOST = "127.0.0.1"
PROVIDER = "local_nodes.LocalNodeProvider"
START_TIMEOUT_S = 60.0
# What the provider calls its head.
HEAD_TYPE = "ray.head.default"
# The head first tells its nodes to end; after this the whole process group is killed.
STOP_TIMEOUT_S = 10.0
# A socket's path has 107 characters at most, of which Ray takes the others.
MAX_PATH = 40
# Below it the head would take a port that Ray gives to workers.
FIRST_PORT, LAST_PORT = 20000, 32000


@dataclass(frozen=True)
class LocalCluster:
    """A running one: where jobs are sent to, the head's own address, the token's file, Ray's own folder, the head's process."""

    api_url: str
    gcs_address: str
    token_path: Path
    ray_folder: Path
    head: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What a client sets to be let in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_path)}


@contextlib.contextmanager
def local_cluster(
    folder: Path,
    *,
    gpu_nodes: int = 3,
    cpu_nodes: int = 0,
    cpus_per_node: int = 1,
    idle_s: float = 30.0,
    environment: dict[str, str] | None = None,
) -> Iterator[LocalCluster]:
    """Start it for the block; its files lie in `folder`, whose path is short, because sockets lie below it.

    `idle_s` are the seconds after which an idle node goes; `environment` is added to that of all its processes.

    Raises:
        RuntimeError: the head ends, or does not answer within a minute; the message names its log.

    """
    folder.mkdir(parents=True, exist_ok=True)
    token_path = folder / "token"
    token_path.touch(mode=0o600)
    token_path.write_text(secrets.token_hex(32))
    gcs_port, api_port = free_port(), free_port()
    config_path = folder / "autoscaler.json"
    node_types = {"gpu": ({"CPU": cpus_per_node, "GPU": 1}, gpu_nodes), "cpu": ({"CPU": cpus_per_node}, cpu_nodes)}
    config_path.write_text(json.dumps(autoscaling_config(f"{HOST}:{gcs_port}", node_types, idle_s), indent=1))
    log_path = folder / "head.log"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--node-ip-address={HOST}", f"--port={gcs_port}", f"--autoscaling-config={config_path}", "--num-cpus=0", "--num-gpus=0"]
    # Jobs are run by the head's agent, whose usual port another Ray on this machine may have.
    command += [f"--dashboard-host={HOST}", f"--dashboard-port={api_port}", f"--dashboard-agent-listen-port={free_port()}"]
    ray_folder = folder / "ray"
    if len(os.fsencode(ray_folder.absolute())) > MAX_PATH:
        raise RuntimeError(
            f"{ray_folder}: too long a path for the sockets that Ray makes below it, at most {MAX_PATH} characters; take another"
        )
    command += [f"--temp-dir={ray_folder}"]
    own = {
        # Jobs run by the `python` that the head finds.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        # Jobs run on the head, and learn here what the cluster grows to.
        "MER_RAY_AUTOSCALES_TO": json.dumps({"CPU": cpus_per_node * (gpu_nodes + cpu_nodes), "GPU": gpu_nodes}),
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    }
    # It would count more than the file.
    around = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"} | own | (environment or {})
    paths = [str(Path(__file__).resolve().parent), around.get("PYTHONPATH", "")]
    around["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    with log_path.open("wb") as log:
        # A group of its own: a Ray of somebody else on this machine is never touched.
        head = subprocess.Popen(command, stdout=log, stderr=log, env=around, start_new_session=True)
    cluster = LocalCluster(f"http://{HOST}:{api_port}", f"{HOST}:{gcs_port}", token_path, ray_folder, head)
    try:
        _await(cluster, log_path)
        yield cluster
    finally:
        _stop(head)


def autoscaling_config(gcs_address: str, node_types: dict[str, tuple[dict[str, float], int]], idle_s: float) -> dict[str, object]:
    """What the autoscaler may start: the resources and the largest number of each type of node."""
    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands", "head_start_ray_commands")
    lists += ("worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter")
    types = {
        name: {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": most}
        for name, (resources, most) in node_types.items()
        if most
    }
    provider = {
        "type": "external",
        "module": PROVIDER,
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": FAKE_HEAD_NODE_ID,
        "gcs_address": gcs_address,
    }
    return {
        "cluster_name": "local",
        "max_workers": sum(most for _, most in node_types.values()),
        "idle_timeout_minutes": idle_s / 60,
        "upscaling_speed": 1.0,
        "head_node_type": HEAD_TYPE,
        "provider": provider,
        "available_node_types": {HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}, **types},
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists},
    }


def free_port() -> int:
    """A port that nothing listens on and that Ray does not give to workers."""
    for port in secrets.SystemRandom().sample(range(FIRST_PORT, LAST_PORT), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise RuntimeError(f"no free port between {FIRST_PORT} and {LAST_PORT}")


def _await(cluster: LocalCluster, log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if cluster.head.poll() is not None:
            raise RuntimeError(f"the head of the local cluster ended; see {log_path}")
        try:
            urllib.request.urlopen(f"{cluster.api_url}/api/version", timeout=5).close()
        except urllib.error.HTTPError:
            # It answers, and wants the token.
            return
        except OSError:
            time.sleep(0.2)
        else:
            raise RuntimeError(f"{cluster.api_url} answers without a token; nothing was left running")
    raise RuntimeError(f"the head of the local cluster did not answer within {START_TIMEOUT_S:g} s; see {log_path}")


def _stop(head: subprocess.Popen[bytes]) -> None:
    head.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        head.wait(timeout=STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    head.wait()


def main() -> None:
    """Run a cluster until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu-nodes", type=int, default=3, help="the most nodes with one logical GPU each")
    parser.add_argument("--cpu-nodes", type=int, default=2, help="the most nodes without")
    parser.add_argument("--cpus-per-node", type=int, default=1)
    parser.add_argument("--idle-s", type=float, default=30.0, help="seconds after which an idle node goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sizes = {"gpu_nodes": options.gpu_nodes, "cpu_nodes": options.cpu_nodes, "cpus_per_node": options.cpus_per_node}
    with tempfile.TemporaryDirectory(prefix="mer-ray-") as name, local_cluster(Path(name), **sizes, idle_s=options.idle_s) as cluster:
        settings = " ".join(f"{key}={value}" for key, value in cluster.environment.items())
        print(f"export {settings} RAY_API_SERVER_ADDRESS={cluster.api_url}")
        job = f"mer-ray submit jobs/demo.yaml vars.device=cpu vars.out=out/on_cluster --shared {Path.cwd()}"
        print(f"{job}      # in another terminal, after the line above; the GPUs are logical, so that trainings must say cpu")
        print("Ctrl-C ends the cluster")
        with contextlib.suppress(KeyboardInterrupt):
            cluster.head.wait()
        print("ending the cluster and its nodes, up to half a minute", flush=True)


if __name__ == "__main__":
    main()
