"""A Ray of several nodes on one machine, run as a script: a head without CPUs and two workers that come and go.

Each line of input is the number of a worker node, which is killed without warning and replaced. The file named by the first
argument gets a line per answer: the address, then the number that was replaced.
"""

import sys
from pathlib import Path

from ray.cluster_utils import Cluster

NUM_NODES = 2
NODE = {"num_cpus": 2, "object_store_memory": 150 * 2**20}

if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", buffering=1) as answers:
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(**NODE) for _ in range(NUM_NODES)]
        answers.write(f"{cluster.address}\n")
        for line in sys.stdin:
            cluster.remove_node(nodes[int(line)], allow_graceful=False)
            answers.write(f"killed {line}")
            nodes[int(line)] = cluster.add_node(**NODE)
            answers.write(f"replaced {line}")
