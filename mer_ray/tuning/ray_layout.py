"""What a trial takes of the cluster, and how many run at once."""

from dataclasses import dataclass

from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.core.ray_machines import ClusterSize, size_at_most
from mer_ray.tuning.config import TuneConfig


@dataclass(frozen=True)
class TrialLayout:
    """CPUs and share of a GPU of each trial, how many run at once when the cluster is whole, and the GPUs that are paid for then."""

    cpus: float
    gpus: float
    num_at_once: int
    num_gpus: float


def choose_layout(config: TuneConfig, use_gpu: bool) -> TrialLayout:
    """Of what the cluster has, or its autoscaler may bring.

    Raises:
        ConfigError: a budget in money where no GPU is used.
        ClusterError: no CPU, or no GPU for `device: cuda`.

    """
    size = size_at_most()
    _check(config, size, use_gpu)
    if use_gpu and size.num_gpus:
        by_gpu = max(1, int(size.num_gpus * config.trials_per_gpu))
        return TrialLayout(1, 1 / config.trials_per_gpu, config.max_concurrent or by_gpu, size.num_gpus)
    return TrialLayout(1, 0, config.max_concurrent or size.num_cpus, 0.0)


def _check(config: TuneConfig, size: ClusterSize, use_gpu: bool) -> None:
    if size.num_cpus < 1:
        raise ClusterError("the Ray cluster has no CPU for a trial; start nodes with CPUs")
    raw = config.target.raw
    if raw.get("train", raw).get("device") == "cuda" and not size.num_gpus:
        raise ClusterError("train.device: cuda, but the Ray cluster has no GPU; set train.device: auto or cpu")
    if config.budget.usd is not None and not (use_gpu and size.num_gpus):
        raise ConfigError("budget.usd: is for GPUs, and trials have none here; leave it out, or set budget.hours")
