"""A job file becomes a batch job of Slurm."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mer_ray.core.artefacts import write_text
from mer_ray.core.config import apply_overrides, load_yaml, parse_config
from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.core.table import Table
from mer_ray.submission.inputs import check_inputs
from mer_ray.submission.slurm_script import SlurmCommand, log_pattern, slurm_script
from mer_ray.submission.slurm_site import SlurmSite
from mer_ray.workflow.job import Job, load_job


@dataclass(frozen=True)
class SlurmSubmission:
    """A job that was sent, or only written where `job_id` is None; `log` has Slurm's number in it, of an array `*` for the task."""

    job_id: str | None
    script: Path
    log: str

    def table(self) -> Table:
        """Where everything lies, and how to watch and stop it."""
        if self.job_id is None:
            rows = [("script", str(self.script)), ("log", self.log), ("send it", f"sbatch {self.script}")]
            return Table("Slurm job, written but not sent", ("what", "value"), tuple(rows))
        rows = [
            ("job", self.job_id),
            ("script", str(self.script)),
            ("log", self.log),
            ("state", f"squeue --job {self.job_id}"),
            ("follow", f"tail -F {self.log}"),
            ("stop", f"scancel {self.job_id}"),
        ]
        return Table("Slurm job", ("what", "value"), tuple(rows))


def submit_to_slurm(job: Path, overrides: list[str], site: Path, *, send: bool = True) -> SlurmSubmission:
    """Check job, site and inputs, write the batch script beside the logs, and give it to sbatch unless `send` is false.

    Raises:
        ConfigError: any fault of job or site, an input that is not there, or a job that cannot be an array or be queued again.
        ClusterError: sbatch is not on this machine, or refuses the job.

    """
    checked = load_job(job, overrides)
    asked = parse_config(SlurmSite, load_yaml(site), str(site))
    check_inputs(checked, str(job))
    if asked.array is not None:
        _check_array(checked, str(job), str(site))
    resume = resume_overrides(checked, job, overrides) if asked.max_requeues else []
    text = slurm_script(asked, SlurmCommand(job.absolute(), overrides, resume, Path.cwd()))
    script = asked.logs.absolute() / f"{job.stem}.sbatch"
    write_text(script, text)
    log = log_pattern(asked, job.stem)
    if not send:
        return SlurmSubmission(None, script, log)
    job_id = _send(script, site)
    return SlurmSubmission(job_id, script, log.replace("%A", job_id).replace("%j", job_id).replace("%a", "*"))


def resume_overrides(job: Job, path: Path, overrides: Sequence[str]) -> list[str]:
    """What lets searches go on after the job was queued again: all other verbs go on by themselves.

    Raises:
        ConfigError: a search in another job that this one runs, which overrides do not reach.

    """
    wanted = [step for step in job.steps if step.verb.name == "tune" and not step.config.resume]
    if any(step.written is None for step in wanted):
        raise ConfigError(
            f"{path}: a tune step of a job that this one runs would not go on after the time limit; "
            "set resume: true there, or max_requeues: 0 in the site file"
        )
    written = apply_overrides(load_yaml(path), list(overrides))["steps"]
    return [f"steps.{number}.resume=true" for number, step in enumerate(written) if any(step == one.written for one in wanted)]


def _check_array(job: Job, where: str, site: str) -> None:
    if len(job.steps) > 1 or job.steps[0].verb.name != "extract" or job.steps[0].written is None:
        raise ConfigError(
            f"{site}: array: shares the clips of a job file whose only step is extract; {where} has "
            f"{', '.join(step.verb.name for step in job.steps)}. Leave array out, or give that step a job file of its own"
        )
    if job.steps[0].config.part is not None:
        raise ConfigError(f"{where}: steps.0.part: array of {site} gives each task its part; leave part out")


def _send(script: Path, site: Path) -> str:
    """Give the script to sbatch; the job's number."""
    try:
        sent = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - Slurm's own client, on the user's PATH
    except FileNotFoundError as error:
        raise ClusterError(f"sbatch: not on this machine; run this on a login node of the cluster, or send {script} from there") from error
    if sent.returncode:
        reason = " ".join(sent.stderr.replace("sbatch: error:", "").split())
        raise ClusterError(f"{script}: sbatch refuses it ({reason}); mend partition, account, qos or sizes in {site}")
    # On several clusters, `17;name`.
    return sent.stdout.strip().partition(";")[0]
