"""A real Slurm on loopback: slurmctld and two slurmd, that stand for two machines, in a folder of their own."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos_processes import end_tree, environment, free_port, wait_for

NODES = ("one", "two")
CPUS_PER_NODE = 4

# No munge: everyone who reaches these loopback ports is believed, for the minutes of the tests.
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MinJobAge=3600
"""


def find_slurm() -> bool:
    """Whether controller, daemon and client are installed."""
    return all(_program(name) is not None for name in ("slurmctld", "slurmd", "sbatch", "srun"))


def _program(name: str) -> str | None:
    """Also in the folder of the system's daemons, which is not on everyone's PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class SlurmServer:
    """The running Slurm: its config file, which SLURM_CONF names to clients."""

    config: Path

    def ask(self, *command: str) -> str:
        """What a client prints."""
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SLURM_CONF": str(self.config)}, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def facts(self, job_id: str) -> dict[str, str]:
        """What Slurm says of a job, or of the task `17_1` of an array."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.ask("scontrol", "show", "job", job_id, "--oneliner")))

    def wait_for_state(self, job_id: str, *states: str, timeout_s: float = 600.0) -> dict[str, str]:
        """The job's facts once it is in one of the states."""
        return wait_for(f"{job_id} to be {states}", lambda: self._facts_in(job_id, states), timeout_s)

    def wait_for_end(self, job_id: str, timeout_s: float = 600.0) -> dict[str, str]:
        """The job's facts once it will not run again."""
        return self.wait_for_state(job_id, "COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", timeout_s=timeout_s)

    def _facts_in(self, job_id: str, states: tuple[str, ...]) -> dict[str, str] | None:
        time.sleep(0.5)
        facts = self.facts(job_id)
        return facts if facts["JobState"] in states else None


@contextlib.contextmanager
def slurm_server(folder: Path) -> Iterator[SlurmServer]:
    """Slurm runs for the block, then all its processes end, those of its jobs too."""
    host = os.uname().nodename.partition(".")[0]
    facts = {"folder": folder, "host": host, "user": pwd.getpwuid(os.getuid()).pw_name, "controller_port": free_port()}
    (folder / "state").mkdir()
    lines = [CONFIG.format(**facts)]
    for name in NODES:
        (folder / f"spool-{name}").mkdir()
        lines.append(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={CPUS_PER_NODE} RealMemory=8000\n")
    lines.append(f"PartitionName=all Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE State=UP\n")
    config = folder / "slurm.conf"
    config.write_text("".join(lines))
    server = SlurmServer(config)
    with contextlib.ExitStack() as running:
        running.enter_context(_daemon(config, "slurmctld", "-D"))
        for name in NODES:
            running.enter_context(_daemon(config, "slurmd", "-D", "-N", name))
        wait_for("the nodes of Slurm", lambda: _num_idle(server) == len(NODES), 60)
        yield server
        _end_jobs(server)


def _num_idle(server: SlurmServer) -> int:
    time.sleep(0.2)
    command = ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"]
    listed = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SLURM_CONF": str(server.config)}, check=False)
    return len(listed.stdout.split())


def _end_jobs(server: SlurmServer) -> None:
    """Each job's processes have a daemon of their own, which is not below slurmd."""
    for job_id in server.ask("squeue", "--noheader", "--format=%A").split():
        server.ask("scancel", job_id)
    wait_for("all jobs to end", lambda: not server.ask("squeue", "--noheader").strip(), 60)


@contextlib.contextmanager
def _daemon(config: Path, name: str, *options: str) -> Iterator[None]:
    program = _program(name)
    assert program is not None
    log = config.with_name(f"{name}{options[-1]}.out")
    with log.open("w") as output:
        process = subprocess.Popen(
            [program, "-f", str(config), *options], stdout=output, stderr=subprocess.STDOUT, env=environment(), start_new_session=True
        )
        try:
            yield
        finally:
            end_tree(process)
