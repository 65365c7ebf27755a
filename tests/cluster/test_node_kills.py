"""Extractions on a cluster whose nodes are killed at random moments and replaced by new ones."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_corpus import ChaosCorpus
from chaos_nodes import Nodes, node_cluster
from chaos_processes import NUM_KILLS, Driver, say, wait_for, working, zygote
from parquet_truth import check_exactly_once

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_NODES = 2


@pytest.fixture(scope="session")
def nodes(chaos_folder: Path) -> Iterator[Nodes]:
    with node_cluster(chaos_folder, num_cpus=2) as cluster:
        yield cluster


def is_at_work(nodes: Nodes, driver: Driver) -> bool:
    return driver.poll() is not None or bool(working(nodes.process.pid, "(ShardActor)).submit"))


def test_killed_nodes_lose_and_repeat_nothing(corpus: ChaosCorpus, reference: Path, nodes: Nodes, chaos_folder: Path):
    num_kills = num_repeated = seed = 0
    with zygote(nodes.address, chaos_folder) as drivers:
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
                    nodes.replace(generator.randrange(NUM_NODES))
                    num_kills += 1
            if driver.wait() != 0:
                # An error of ours, in one line.
                assert driver.code == 1, driver.log.read_text()[-3000:]
                drivers.run(config)
            num_repeated += check_exactly_once(store, corpus, reference)
    say(f"seeds 1 to {seed}: {num_kills} nodes killed, {num_repeated} rows stored more than once")
