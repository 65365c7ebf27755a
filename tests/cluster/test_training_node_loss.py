"""An elastic training that loses a node of its cluster for good: it goes on with the other, and ends as if nothing had happened."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from chaos_nodes import node_cluster
from chaos_processes import say, started, wait_for, working
from chaos_verbs import IMPATIENT, TRAINING, check_trained_alike, end_well, has_checkpoint, long_training, verb_command
from training_corpus import make_corpus

from mer_ray.training import train

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


def test_an_elastic_training_that_loses_a_node_ends_as_an_undisturbed_one(tmp_path: Path):
    corpus = make_corpus(tmp_path)
    undisturbed = long_training(corpus, "undisturbed")
    train(undisturbed)
    config = long_training(corpus, "elastic", num_workers=(1, 2))
    command, log = verb_command("train", config, tmp_path), tmp_path / "driver.log"
    with node_cluster(tmp_path, num_cpus=1) as nodes, started(command, log, RAY_ADDRESS=nodes.address, **IMPATIENT) as driver:

        def is_over() -> bool:
            return driver.poll() is not None

        def workers(but: Sequence[int] = ()) -> list[int]:
            return [process.pid for process in working(nodes.process.pid, *TRAINING) if process.pid not in but]

        wait_for("a checkpoint", lambda: is_over() or has_checkpoint(config))
        before = workers()
        nodes.remove(1)
        assert not is_over(), f"the training ended before the node was lost; see {log}"
        wait_for("workers on what is left", lambda: is_over() or workers(but=before))
        after = workers(but=before)
        end_well(driver, log)
    say(f"{len(before)} workers before, {len(after)} after")
    assert (len(before), len(after)) == (2, 1)
    check_trained_alike(config.out, undisturbed.out)
