"""Extractions on a cluster whose nodes are killed at random moments and replaced by new ones."""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_corpus import ChaosCorpus
from chaos_processes import HERE, Driver, say, started, wait_for, working, zygote
from parquet_truth import check_exactly_once

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_KILLS = 30
NUM_NODES = 2


class Nodes:
    """A cluster of a head and `NUM_NODES` workers, see `node_cluster`."""

    def __init__(self, process: subprocess.Popen[str], answers: Path) -> None:
        self.process, self.answers = process, answers

    def wait_for_answer(self, number: int) -> str:
        def answer() -> str | None:
            assert self.process.poll() is None, "the cluster's process has ended"
            lines = self.answers.read_text().splitlines() if self.answers.exists() else []
            return lines[number] if len(lines) > number else None

        return str(wait_for("the cluster", answer))

    def replace(self, node: int, num_before: int) -> None:
        """Kill a node, wait until a new one is there."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{node}\n")
        self.process.stdin.flush()
        # The first answer is the address, then two per node.
        assert self.wait_for_answer(2 + 2 * num_before) == f"replaced {node}"


@pytest.fixture(scope="session")
def nodes(chaos_folder: Path) -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="mer-ray-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        answers = chaos_folder / "nodes.txt"
        command = [sys.executable, str(HERE / "node_cluster.py"), str(answers)]
        # Ray notes in RAY_TMPDIR which cluster was started last, and other tests must not find it.
        with started(command, chaos_folder / "nodes.log", RAY_TMPDIR=temporary) as process:
            cluster = Nodes(process, answers)
            cluster.wait_for_answer(0)
            yield cluster


def is_at_work(nodes: Nodes, driver: Driver) -> bool:
    return driver.poll() is not None or bool(working(nodes.process.pid, "(ShardActor)).submit"))


def test_killed_nodes_lose_and_repeat_nothing(corpus: ChaosCorpus, reference: Path, nodes: Nodes, chaos_folder: Path):
    num_kills = num_repeated = seed = 0
    with zygote(nodes.wait_for_answer(0), chaos_folder) as drivers:
        while num_kills < NUM_KILLS:
            seed += 1
            generator, store = random.Random(seed), chaos_folder / f"nodes-{seed}"
            config = corpus.config(store, num_actors=NUM_NODES)
            driver = drivers.start(config)
            while driver.poll() is None and num_kills < NUM_KILLS:
                # Half the kills fall on nodes whose workers start, half on extraction in full run.
                if generator.random() < 0.5:
                    wait_for("an actor at work", lambda driver=driver: is_at_work(nodes, driver))
                    time.sleep(generator.uniform(0, 0.3))
                else:
                    time.sleep(generator.uniform(0, 2))
                if driver.poll() is None:
                    nodes.replace(generator.randrange(NUM_NODES), num_kills)
                    num_kills += 1
            if driver.wait() != 0:
                drivers.run(config)
            num_repeated += check_exactly_once(store, corpus, reference)
    say(f"seeds 1 to {seed}: {num_kills} nodes killed, {num_repeated} rows stored more than once")
