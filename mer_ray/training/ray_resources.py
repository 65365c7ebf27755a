"""What the Ray cluster has for a training, known before it starts."""

import ray

from mer_ray.core.errors import ClusterError
from mer_ray.core.ray_session import ray_session
from mer_ray.training.config import TrainConfig


def find_device_type(config: TrainConfig) -> str:
    """`cuda` where the cluster has a GPU for every worker, else `cpu`.

    Raises:
        ClusterError: as `use_gpu`.

    """
    with ray_session():
        return "cuda" if use_gpu(config) else "cpu"


def use_gpu(config: TrainConfig) -> bool:
    """Whether workers get a GPU each (fits in parallel: a share of one).

    Raises:
        ClusterError: `device: cuda` without enough GPUs, or a local Ray with fewer CPUs than workers, which would wait for ever.

    """
    resources = ray.cluster_resources()
    num_gpus, num_cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    needed = config.worker_range[0]
    if config.device == "cuda" and num_gpus == 0:
        raise ClusterError("device: cuda, but the Ray cluster has no GPU; set device: auto or cpu")
    if len(ray.nodes()) == 1 and num_cpus < needed:
        raise ClusterError(f"num_workers: {needed}, but Ray has {num_cpus} CPUs here; set num_workers to at most {num_cpus}")
    return config.device != "cpu" and num_gpus >= needed
