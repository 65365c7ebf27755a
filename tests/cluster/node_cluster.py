"""A Ray of several nodes on one machine, run as a script: a head without CPUs and two workers that come and go.

Each line of input, `replace N` or `remove N`, kills worker node N without warning; the first puts a new one in its place, as `add N` does
for one that was removed. `drain N` gives notice that it goes in a minute. The file named by the first argument gets a line per answer: the
address, then what was done. The second argument is the number of CPUs of a node.
"""

import sys
import time
from pathlib import Path

from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

NUM_NODES = 2
NOTICE_S = 60

if __name__ == "__main__":
    node = {"num_cpus": int(sys.argv[2]), "object_store_memory": 150 * 2**20}
    with Path(sys.argv[1]).open("w", buffering=1) as answers:
        cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(**node) for _ in range(NUM_NODES)]
        answers.write(f"{cluster.address}\n")
        for line in sys.stdin:
            what, number = line.split()
            if what in ("replace", "remove"):
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
                answers.write(f"killed {number}\n")
            if what in ("replace", "add"):
                nodes[int(number)] = cluster.add_node(**node)
                answers.write(f"{what}d {number}\n" if what == "replace" else f"added {number}\n")
            if what == "drain":
                reason, deadline_ms = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, int((time.time() + NOTICE_S) * 1000)
                accepted, fault = GcsClient(address=cluster.address).drain_node(nodes[int(number)].node_id, reason, "spot", deadline_ms)
                answers.write(f"drained {number}\n" if accepted else f"refused: {fault}\n")
