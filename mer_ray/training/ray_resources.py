"""What the Ray cluster has for a training, known before it starts."""

from typing import Literal, Protocol

import ray

from mer_ray.core.errors import ClusterError
from mer_ray.core.ray_machines import autoscaling_limit, size_at_most
from mer_ray.core.ray_session import ray_session


class WorkerSettings(Protocol):
    """What a config says of its workers."""

    @property
    def worker_range(self) -> tuple[int, int]:
        """The least and the most."""

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]:
        """`auto` is a GPU each where the cluster has enough."""

    @property
    def max_failures(self) -> int:
        """How often they are started anew."""


def find_device_type(config: WorkerSettings) -> str:
    """`cuda` where the cluster has a GPU for every worker, else `cpu`.

    Raises:
        ClusterError: as `use_gpu`.

    """
    with ray_session():
        return "cuda" if use_gpu(config) else "cpu"


def use_gpu(config: WorkerSettings) -> bool:
    """Whether workers get a GPU each (fits in parallel: a share of one).

    Raises:
        ClusterError: `device: cuda` without enough GPUs, or a local Ray with fewer CPUs than workers, which would wait for ever.

    """
    size = size_at_most()
    num_gpus, num_cpus = int(size.num_gpus), size.num_cpus
    needed = config.worker_range[0]
    if config.device == "cuda" and num_gpus < needed:
        there = f"{num_gpus} GPUs for {needed} workers" if num_gpus else "no GPU"
        raise ClusterError(f"device: cuda, but the Ray cluster has {there}; set device: auto or cpu")
    if len(ray.nodes()) == 1 and autoscaling_limit() is None and num_cpus < needed:
        raise ClusterError(f"num_workers: {needed}, but Ray has {num_cpus} CPUs here; set num_workers to at most {num_cpus}")
    return config.device != "cpu" and num_gpus >= needed
