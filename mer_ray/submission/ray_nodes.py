"""Wait until the Ray that RAY_ADDRESS names has all its nodes, run as `python -m mer_ray.submission.ray_nodes COUNT`."""

import sys
import time

import ray

from mer_ray.core.errors import ClusterError
from mer_ray.core.ray_session import ray_session

# Nodes load Python from a file system that all of them share.
TIMEOUT_S = 600.0


def wait_for_nodes(count: int, timeout_s: float = TIMEOUT_S) -> None:
    """Return once `count` nodes are alive; what the job starts then finds all their CPUs and GPUs.

    Raises:
        ClusterError: Ray cannot be reached, or fewer are there after `timeout_s` seconds.

    """
    deadline = time.monotonic() + timeout_s
    with ray_session():
        while (alive := sum(bool(node["Alive"]) for node in ray.nodes())) < count:
            if time.monotonic() > deadline:
                raise ClusterError(f"{alive} of {count} nodes joined Ray within {timeout_s:.0f} s; see the logs of the others for why not")
            time.sleep(1.0)


if __name__ == "__main__":
    try:
        wait_for_nodes(int(sys.argv[1]))
    except ClusterError as error:
        sys.exit(f"mer-ray: error: {error}")
