"""The site file: what a Slurm cluster is asked for, and how a job finds its programs there."""

import math
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from mer_ray.core.config import Config

# As sbatch takes them; no blank or quote that would begin another word in the script.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,:@+-]*$")]

OWN_OPTIONS = (
    *("--partition", "--account", "--qos", "--nodes", "--ntasks", "--ntasks-per-node", "--cpus-per-task", "--gpus-per-node", "--mem"),
    *("--time", "--signal", "--requeue", "--no-requeue", "--open-mode", "--array", "--job-name", "--output", "--error", "--export"),
)
# Ray's sockets lie below it, and the path of a socket has at most 107 characters.
MAX_SCRATCH_LENGTH = 20


class SlurmSite(Config):
    """What one cluster is asked for, per job, or per task of an array.

    `cpus_per_node`, `gpus_per_node` (of `gpu_type`, where a partition has several) and `memory_gb_per_node` are also all that Ray uses of
    a machine. `setup`: lines of shell that put `mer-ray`, `ray` and `python` on the PATH, e.g. `module load python` and
    `source /proj/venv/bin/activate`. `sbatch`: more options, e.g. `--constraint=a100`. `logs`: a folder that all machines see, for
    scripts and logs. `scratch`: a folder on each machine with a short path, for Ray's own files.

    `hours` is the time limit. `stop_s` seconds before it the job ends what it does and is queued again, up to `max_requeues` times, to go
    on where it was. `array`: as many tasks share the clips of a job whose only step is `extract`.
    """

    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    nodes: int = Field(1, ge=1)
    cpus_per_node: int = Field(ge=1)
    gpus_per_node: int = Field(0, ge=0)
    gpu_type: Name | None = None
    memory_gb_per_node: int = Field(ge=1)
    hours: float = Field(gt=0, allow_inf_nan=False)
    stop_s: int = Field(120, ge=60)
    max_requeues: int = Field(10, ge=0)
    array: int | None = Field(None, ge=2)
    setup: tuple[str, ...] = ()
    sbatch: tuple[str, ...] = ()
    logs: Path = Path("slurm")
    scratch: Path = Path("/tmp")  # noqa: S108 - the job makes a folder of its own below it

    @field_validator("sbatch")
    @classmethod
    def _are_more_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        for option in options:
            name = option.partition("=")[0]
            if not option.startswith("--") or len(option.splitlines()) != 1 or any(sign.isspace() for sign in name):
                raise ValueError(f"{option!r}: write each option in full as --name=value")
            if name in OWN_OPTIONS:
                raise ValueError(f"{option!r}: mer-ray sets {name} itself; leave it out, and see the other keys of this file")
        return options

    @field_validator("logs", "scratch")
    @classmethod
    def _is_plain(cls, path: Path) -> Path:
        for sign in ('"', "'", "%", "\\", "\n"):
            if sign in str(path):
                raise ValueError(f"{str(path)!r}: the sign {sign!r} means something else to Slurm; choose a folder without it")
        return path

    @field_validator("scratch")
    @classmethod
    def _is_short(cls, path: Path) -> Path:
        if not path.is_absolute() or len(str(path)) > MAX_SCRATCH_LENGTH:
            raise ValueError(f"{path}: write an absolute path of at most {MAX_SCRATCH_LENGTH} characters, for Ray's sockets lie below it")
        return path

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.gpu_type is not None and not self.gpus_per_node:
            raise ValueError("gpu_type: needs gpus_per_node, the number of them")
        # Slurm signals up to a minute early.
        least = (2 * self.stop_s + 60) / 3600
        if self.hours < least:
            raise ValueError(f"hours: {self.hours:g} leaves no time before the end at stop_s, {self.stop_s} s; allow {least:.2f} or more")
        return self

    @property
    def time_limit_min(self) -> int:
        """The time limit in whole minutes, Slurm's unit."""
        return math.ceil(round(self.hours * 60, 6))
