"""Searches whose driver, workers or nodes are killed, and that go on."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos_nodes import node_cluster
from chaos_processes import kill, say, started, wait_for, working
from chaos_verbs import COMPUTING, NUM_TRIALS, SEARCHING, WAITING, count_finished, end_well, long_search, read_finished, verb_command
from training_corpus import TrainingCorpus

from mer_ray.tuning.config import TuneConfig

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_KILLS = 5


class Search:
    """One `mer-ray tune` in a process of its own."""

    def __init__(self, config: TuneConfig, process: subprocess.Popen[str], log: Path) -> None:
        self.config, self.process, self.log = config, process, log

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def wait_for_trials(self, number: int) -> None:
        """Until so many have ended; the search itself has not."""
        wait_for(f"{number} trials", lambda: self.is_over or count_finished(self.config) >= number)
        self.check_alive()

    def check_alive(self) -> None:
        assert not self.is_over, self.log.read_text()[-3000:]

    def finish(self) -> None:
        """Wait for a good end."""
        end_well(self.process, self.log)


@pytest.fixture
def searching(tmp_path: Path) -> Iterator[Any]:
    opened = []

    def start(config: TuneConfig, address: str) -> Search:
        log = tmp_path / f"{config.out.name}-{len(opened)}.log"
        block = started(verb_command("tune", config, tmp_path), log, RAY_ADDRESS=address)
        opened.append(block)
        return Search(config, block.__enter__(), log)

    yield start
    for block in opened:
        block.__exit__(None, None, None)


def test_a_search_killed_again_and_again_has_the_trials_of_an_undisturbed_one(
    searched: TrainingCorpus, head: tuple[str, int], searching: Any, undisturbed_trials: list[tuple[str, str]]
):
    config = long_search(searched, "killed")
    generator = random.Random(5)
    for number in range(NUM_KILLS):
        search = searching(config, head[0])
        search.wait_for_trials(1 + number * (NUM_TRIALS - 4) // NUM_KILLS)
        time.sleep(generator.uniform(0, 1.5))
        search.check_alive()
        os.kill(search.process.pid, signal.SIGKILL)
        search.process.wait()
        num_finished = count_finished(config)
        say(f"killed with {num_finished} finished trials")
        assert num_finished < NUM_TRIALS
    searching(config, head[0]).finish()
    assert read_finished(config) == undisturbed_trials


def test_a_search_whose_workers_are_killed_ends_with_the_same_trials(
    searched: TrainingCorpus, head: tuple[str, int], searching: Any, undisturbed_trials: list[tuple[str, str]]
):
    config = long_search(searched, "workers_killed")
    search = searching(config, head[0])
    num_killed = 0
    for wanted, moment in ((1, COMPUTING), (3, WAITING), (6, COMPUTING)):
        search.wait_for_trials(wanted)
        victims = wait_for("a trial at work", lambda moment=moment: search.is_over or working(head[1], *moment))
        num_killed += kill(victims[0])
    search.finish()

    assert num_killed == 3
    assert read_finished(config) == undisturbed_trials


def test_a_search_that_loses_a_node_ends_with_the_same_trials(
    searched: TrainingCorpus, searching: Any, undisturbed_trials: list[tuple[str, str]], tmp_path: Path
):
    config = long_search(searched, "node_killed")
    # A trial on each node.
    with node_cluster(tmp_path, num_cpus=1) as nodes:
        search = searching(config, nodes.address)
        search.wait_for_trials(2)
        wait_for("trials on both nodes", lambda: search.is_over or len(at_work(nodes.process.pid)) == 2)
        before = at_work(nodes.process.pid)
        nodes.replace(1)
        # A worker ends when it hears no more of its node.
        wait_for("the worker to go", lambda: search.is_over or not before <= at_work(nodes.process.pid))
        num_finished = count_finished(config)
        search.check_alive()
        search.finish()
    say(f"the node and a worker on it lost with {num_finished} finished trials")
    assert num_finished < NUM_TRIALS
    assert read_finished(config) == undisturbed_trials


def at_work(cluster_pid: int) -> set[int]:
    return {process.pid for process in working(cluster_pid, *SEARCHING)}
