"""An elastic training whose machines come and go by notice: it writes a checkpoint before it loses one, and takes in one that comes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from chaos_nodes import Nodes, node_cluster
from chaos_processes import say, started, wait_for, working
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.training import train
from mer_ray.training.config import TrainConfig

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

# Without dropout the numbers of one and of two workers differ by rounding only; without early stopping rounding chooses no epoch.
CHANGES = {"batch_size": 10, "learning_rate": 2e-3, "model": {"name": "attention", "hidden": 16, "dropout": 0.0}}
TRAINING = "TrainWorker"
IMPATIENT = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5"}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with node_cluster(tmp_path, num_cpus=1) as found:
        yield found


@pytest.fixture
def corpus(tmp_path: Path) -> TrainingCorpus:
    return make_corpus(tmp_path)


def write(config: TrainConfig, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return [sys.executable, "-m", "mer_ray.cli", "train", str(path)]


def assert_same_predictions(out: Path, expected: Path) -> None:
    found, alone = (pq.read_table(one / "predictions" / "test.parquet") for one in (out, expected))
    assert found["clip_id"].equals(alone["clip_id"])
    for name in ("prob_neutral", "prob_angry", "prob_happy", "valence"):
        assert np.abs(found[name].to_numpy() - alone[name].to_numpy()).max() < 1e-3


def test_notice_of_a_machine_that_goes_makes_a_checkpoint_from_which_the_other_goes_on(tmp_path, corpus, nodes):
    undisturbed = corpus.config("undisturbed", epochs=60, **CHANGES)
    train(undisturbed)
    # None would come by time.
    config = corpus.config("noticed", epochs=60, num_workers=(1, 2), checkpoint_interval_s=3600.0, **CHANGES)
    log = tmp_path / "driver.log"
    with started(write(config, tmp_path / "train.yaml"), log, RAY_ADDRESS=nodes.address, **IMPATIENT) as driver:

        def checkpoints() -> list[Path]:
            return list(config.out.glob("checkpoints/*/last.pt"))

        wait_for("two workers", lambda: driver.poll() is not None or len(working(nodes.process.pid, TRAINING)) == 2)
        assert driver.poll() is None and not checkpoints(), log.read_text()[-3000:]
        nodes.drain(1)
        wait_for("a checkpoint", lambda: driver.poll() is not None or checkpoints())
        assert driver.poll() is None, f"the training ended before it was told; see {log}"
        nodes.remove(1)
        wait_for("the training", lambda: driver.poll() is not None)
        assert driver.returncode == 0, log.read_text()[-3000:]
    assert_same_predictions(config.out, undisturbed.out)


def test_a_training_takes_in_a_machine_that_comes(tmp_path, corpus, nodes):
    changes = {**CHANGES, "epochs": 3000}
    nodes.remove(1)
    config = corpus.config("growing", num_workers=(1, 2), checkpoint_interval_s=0.0, **changes)
    log = tmp_path / "driver.log"
    with started(write(config, tmp_path / "train.yaml"), log, RAY_ADDRESS=nodes.address, **IMPATIENT) as driver:

        def num_workers() -> int:
            return len(working(nodes.process.pid, TRAINING))

        wait_for("a checkpoint", lambda: driver.poll() is not None or list(config.out.glob("checkpoints/*/last.pt")))
        assert num_workers() == 1
        nodes.add(1)
        # Ray Train looks every minute.
        wait_for("a second worker", lambda: driver.poll() is not None or num_workers() == 2)
        assert driver.poll() is None, f"the training ended before it grew; see {log}"
        before = max(path.stat().st_mtime_ns for path in config.out.glob("checkpoints/*/last.pt"))
        wait_for("a checkpoint of both", lambda: max(path.stat().st_mtime_ns for path in config.out.glob("checkpoints/*/last.pt")) > before)
        say("grew from 1 to 2 workers, and went on")
