"""What a trial takes of the cluster, and how many run at once."""

from dataclasses import dataclass
from typing import Any

from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.core.ray_machines import ClusterSize, size_at_most
from mer_ray.tuning.config import TuneConfig

# Ray's own name of a resource that the head alone has, and has always.
ON_HEAD = {"node:__internal_head__": 0.001}


@dataclass(frozen=True)
class TrialLayout:
    """CPUs and share of a GPU of each trial, how many run at once when the cluster is whole, and the GPUs that are paid for then.

    A trial with a group of workers takes no CPU itself: each worker takes one, and a GPU where there are enough.
    """

    cpus: float
    gpus: float
    num_at_once: int
    num_gpus: float

    @property
    def resources(self) -> dict[str, float]:
        """Of a trial, for Ray Tune, which refuses one that takes nothing: the process that leads a group, and waits, is on the head."""
        return {"cpu": self.cpus, "gpu": self.gpus} if self.cpus else ON_HEAD

    @property
    def options(self) -> dict[str, Any]:
        """Of a task that runs a trial."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": {} if self.cpus else ON_HEAD}


def choose_layout(config: TuneConfig, use_gpu: bool) -> TrialLayout:
    """Of what the cluster has, or its autoscaler may bring.

    Raises:
        ConfigError: a budget in money where no GPU is used.
        ClusterError: no CPU, too few for the workers of one trial, or no GPU for `device: cuda`.

    """
    size = size_at_most()
    num_gpus = _num_gpus_used(config, size) if use_gpu else 0.0
    _check(config, size, num_gpus)
    workers = config.workers_per_trial
    if workers > 1:
        return TrialLayout(0, 0, config.max_concurrent or int(num_gpus or size.num_cpus) // workers, num_gpus)
    if num_gpus:
        by_gpu = max(1, int(num_gpus * config.trials_per_gpu))
        return TrialLayout(1, 1 / config.trials_per_gpu, config.max_concurrent or by_gpu, num_gpus)
    return TrialLayout(1, 0, config.max_concurrent or size.num_cpus, 0.0)


def _num_gpus_used(config: TuneConfig, size: ClusterSize) -> float:
    """Each worker of a group has a GPU to itself, or none has; single workers share those that are there."""
    workers = config.workers_per_trial
    return size.num_gpus if workers == 1 or size.num_gpus >= workers else 0.0


def _check(config: TuneConfig, size: ClusterSize, num_gpus: float) -> None:
    if size.num_cpus < 1:
        raise ClusterError("the Ray cluster has no CPU for a trial; start nodes with CPUs")
    if size.num_cpus < config.workers_per_trial:
        raise ClusterError(
            f"train.num_workers: {config.workers_per_trial} workers of a trial need a CPU each, and the Ray cluster has {size.num_cpus}; "
            f"set train.num_workers to at most {size.num_cpus}"
        )
    if config.device == "cuda" and not num_gpus:
        there = f"{size.num_gpus:g} GPUs for {config.workers_per_trial} workers of a trial" if size.num_gpus else "no GPU"
        raise ClusterError(f"train.device: cuda, but the Ray cluster has {there}; set train.device: auto or cpu")
    if config.budget.usd is not None and not num_gpus:
        raise ConfigError("budget.usd: is for GPUs, and trials have none here; leave it out, or set budget.hours")
