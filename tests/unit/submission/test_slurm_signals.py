"""The batch script's own logic, in a shell where Slurm and Ray are small programs of the test."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mer_ray.submission.slurm_script import SlurmCommand, slurm_script
from mer_ray.submission.slurm_site import SlurmSite

# Each waits for seconds, as the script does.
pytestmark = pytest.mark.slow

# Listens where Ray would, until scancel ends the step.
SRUN = """#!/bin/bash
echo $$ >srun.pid
exec {python} -c 'import os, socket, time
listening = socket.create_server(("127.0.0.1", int(os.environ["port"])))
time.sleep(60)'
"""
SCONTROL = """#!/bin/bash
case $1-$2 in
  show-hostnames) echo here ;;
  show-node) echo NodeAddr=127.0.0.1 ;;
  requeue-*) echo "$2" >requeued; kill -KILL $PPID ;;
esac
"""
PYTHON = """#!/bin/bash
[ "$3" = mer_ray.submission.ray_nodes ] || exec {python} "$@"
"""
JOB = """#!/bin/bash
echo "$RAY_AUTH_MODE" "$(stat --format=%a "$RAY_AUTH_TOKEN_PATH")" "$@" >started
{body}
"""
WAITS = "trap 'echo stopped; kill $!; exit 143' TERM; sleep 60 & wait"


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    programs = {"scontrol": SCONTROL, "scancel": "#!/bin/bash\nkill $(cat srun.pid)\n", "python": PYTHON}

    def begin(body: str, restarts: int = 0, srun: str = SRUN) -> subprocess.Popen[str]:
        for name, text in {**programs, "srun": srun, "mer-ray": JOB.replace("{body}", body)}.items():
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("{python}", sys.executable))
            path.chmod(0o755)
        (tmp_path / "logs").mkdir()
        site = SlurmSite.model_validate(
            {"cpus_per_node": 1, "memory_gb_per_node": 1, "hours": 1, "max_requeues": 2, "logs": tmp_path / "logs"}
        )
        script = tmp_path / "job.sbatch"
        script.write_text(slurm_script(site, SlurmCommand(Path("/job.yaml"), ["vars.a=b c"], ["steps.0.resume=true"], tmp_path)))
        facts = {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_JOB_NODELIST": "here",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_RESTART_COUNT": str(restarts),
        }
        return subprocess.Popen(
            [shutil.which("bash") or "bash", str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **facts, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        )

    return begin


def send(number: int, script: subprocess.Popen[str], folder: Path) -> None:
    """Once the job runs."""
    while not (folder / "started").exists():
        assert script.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)
    script.send_signal(number)


@pytest.mark.parametrize("status", [0, 3])
def test_the_job_gives_the_script_its_status(start: Callable[..., subprocess.Popen[str]], tmp_path: Path, status: int):
    script = start(f"exit {status}")
    said, _ = script.communicate(timeout=30)
    assert script.returncode == status, said
    assert (tmp_path / "started").read_text() == "token 600 run /job.yaml vars.a=b c\n"
    assert not list((tmp_path / "logs").glob("token-*"))
    assert not (tmp_path / "requeued").exists()


def test_the_signal_before_the_time_limit_ends_the_job_and_queues_it_again(start: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    script = start(WAITS, restarts=1)
    send(signal.SIGUSR1, script, tmp_path)
    said, _ = script.communicate(timeout=30)
    assert script.returncode == -signal.SIGKILL, said
    assert (tmp_path / "requeued").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "started").read_text().endswith("steps.0.resume=true\n")
    assert said.index("stopped") < said.index("queued again, start 3 goes on from here")
    assert not list((tmp_path / "logs").glob("token-*"))


def test_it_is_not_queued_for_ever(start: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    script = start(WAITS, restarts=2)
    send(signal.SIGUSR1, script, tmp_path)
    said, _ = script.communicate(timeout=30)
    assert script.returncode == 143, said
    assert "not queued again (max_requeues: 2); submit it again to go on" in said
    assert not (tmp_path / "requeued").exists()


def test_a_job_that_was_cancelled_is_not_queued_again(start: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    script = start(WAITS)
    send(signal.SIGTERM, script, tmp_path)
    said, _ = script.communicate(timeout=30)
    assert script.returncode == 143, said
    assert "stopped" in said
    assert not (tmp_path / "requeued").exists()


def test_a_ray_that_does_not_start_is_told(start: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    script = start("exit 0", srun="#!/bin/bash\nexit 1\n")
    said, _ = script.communicate(timeout=30)
    assert script.returncode == 1, said
    assert f"mer-ray: error: Ray did not start; see {tmp_path}/logs/ray-{os.getpid()}-0.log" in said
    assert not (tmp_path / "started").exists()
