"""What a Ray cluster has, and what its autoscaler may add to it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import ray

from mer_ray.core.errors import ClusterError

# Set where drivers run, by whoever sets up the cluster: Ray's autoscaler tells nobody what it may start.
AUTOSCALES_TO = "MER_RAY_AUTOSCALES_TO"
EXAMPLE = '{"CPU": 16, "GPU": 4}'
RESOURCES = ("CPU", "GPU", "memory")


@dataclass(frozen=True)
class ClusterSize:
    """CPU cores, GPUs, and bytes of memory for tasks, of all nodes together."""

    num_cpus: int
    num_gpus: float
    memory_bytes: float


def size_now() -> ClusterSize:
    """The nodes that are there."""
    return _to_size(ray.cluster_resources())


def size_at_most() -> ClusterSize:
    """What the cluster grows to where an autoscaler is told of (`MER_RAY_AUTOSCALES_TO`), else what is there.

    Memory that is not told of is taken to be as much per CPU as the nodes have that are there.

    Raises:
        ClusterError: as `autoscaling_limit`.

    """
    now, limit = size_now(), autoscaling_limit()
    if limit is None:
        return now
    most = _to_size(limit)
    num_cpus = max(now.num_cpus, most.num_cpus)
    memory_bytes = most.memory_bytes or (now.memory_bytes / now.num_cpus * num_cpus if now.num_cpus else 0.0)
    return ClusterSize(num_cpus, max(now.num_gpus, most.num_gpus), max(now.memory_bytes, memory_bytes))


def largest_node_cpus() -> int:
    """CPUs of the node with most of those that are there, 0 where none has any: more than that no task can have."""
    return max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)


def autoscaling_limit() -> dict[str, float] | None:
    """The resources that all nodes together have when the autoscaler has started as many as it may; None without one.

    Raises:
        ClusterError: the variable does not hold numbers by resource.

    """
    text = os.environ.get(AUTOSCALES_TO)
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ClusterError(f"{AUTOSCALES_TO}={text}: not JSON ({error}); write {EXAMPLE}") from error
    if not isinstance(found, dict) or not found or not all(_is_amount(name, value) for name, value in found.items()):
        raise ClusterError(f"{AUTOSCALES_TO}={text}: allowed: numbers for {', '.join(RESOURCES)}; write {EXAMPLE}")
    return {name: float(value) for name, value in found.items()}


def _is_amount(name: str, value: object) -> bool:
    return name in RESOURCES and isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _to_size(resources: Mapping[str, float]) -> ClusterSize:
    return ClusterSize(int(resources.get("CPU", 0)), float(resources.get("GPU", 0)), float(resources.get("memory", 0)))
