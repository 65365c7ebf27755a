"""An elastic training that loses a node of its cluster for good: it goes on with the other, and ends as if nothing had happened."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from chaos_nodes import node_cluster
from chaos_processes import say, started, wait_for, working
from training_corpus import make_corpus

from mer_ray.training import train

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]

# Without dropout the numbers of one and of two workers differ by rounding only; without early stopping rounding chooses no epoch.
CHANGES = {"batch_size": 10, "epochs": 60, "learning_rate": 2e-3, "model": {"name": "attention", "hidden": 16, "dropout": 0.0}}
# What Ray calls a worker in training.
TRAINING = "TrainWorker"
# For a while Ray Train counts the lost node in, and waits a minute for it by default.
IMPATIENT = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5"}


def rows_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_an_elastic_training_that_loses_a_node_ends_as_an_undisturbed_one(tmp_path: Path):
    corpus = make_corpus(tmp_path)
    undisturbed = corpus.config("undisturbed", **CHANGES)
    train(undisturbed)
    config = corpus.config("elastic", num_workers=(1, 2), checkpoint_interval_s=0.0, **CHANGES)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "mer_ray.cli", "train", str(tmp_path / "train.yaml")]
    log = tmp_path / "driver.log"
    with node_cluster(tmp_path, num_cpus=1) as nodes, started(command, log, RAY_ADDRESS=nodes.address, **IMPATIENT) as driver:

        def is_over() -> bool:
            return driver.poll() is not None

        def workers(but: Sequence[int] = ()) -> list[int]:
            return [process.pid for process in working(nodes.process.pid, TRAINING) if process.pid not in but]

        wait_for("a checkpoint", lambda: is_over() or list(config.out.glob("checkpoints/*/last.pt")))
        before = workers()
        nodes.remove(1)
        assert not is_over(), f"the training ended before the node was lost; see {log}"
        wait_for("workers on what is left", lambda: is_over() or workers(but=before))
        after = workers(but=before)
        wait_for("the training", is_over)
        assert driver.returncode == 0, log.read_text()[-3000:]
    say(f"{len(before)} workers before, {len(after)} after")
    assert (len(before), len(after)) == (2, 1)
    ours, expected = rows_of(config.out), rows_of(undisturbed.out)
    assert [(row["fold"], row["epoch"]) for row in ours] == [(row["fold"], row["epoch"]) for row in expected]
    assert max(abs(one["train_loss"] - other["train_loss"]) for one, other in zip(ours, expected, strict=True)) < 1e-4
    found, alone = (pq.read_table(out / "predictions" / "test.parquet") for out in (config.out, undisturbed.out))
    assert found["clip_id"].equals(alone["clip_id"])
    for name in ("prob_neutral", "prob_angry", "prob_happy", "valence"):
        assert np.abs(found[name].to_numpy() - alone[name].to_numpy()).max() < 1e-3
