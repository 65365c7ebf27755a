"""Run as a script, with the environment of a client: notes again and again what a cluster has and what its autoscaler is asked for.

The file named by the first argument gets a line of JSON per look: the time, the nodes with a GPU that are there, and the GPUs that tasks,
actors and standing requests wait for. It ends with its input.
"""

import json
import os
import select
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ray.autoscaler.v2.sdk import get_cluster_status

INTERVAL_S = 0.2


def count_gpus(demands: Iterable[Any]) -> float:
    return sum(found.bundle.get("GPU", 0.0) * found.count for demand in demands for found in demand.bundles_by_count)


def look(address: str) -> dict[str, float]:
    status = get_cluster_status(address)
    nodes = [*status.active_nodes, *status.idle_nodes]
    with_gpu = [node for node in nodes if any(usage.resource_name == "GPU" for usage in node.resource_usage.usage)]
    demands = status.resource_demands
    return {
        "at": time.time(),
        "nodes": len(with_gpu),
        "requested": count_gpus(demands.cluster_constraint_demand),
        "waiting": count_gpus(demands.ray_task_actor_demand),
    }


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", buffering=1) as notes:
        while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
            notes.write(json.dumps(look(os.environ["RAY_ADDRESS"])) + "\n")
