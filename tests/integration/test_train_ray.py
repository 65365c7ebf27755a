"""Training with 1, 2 and 3 workers through Ray Train: the same losses, metrics and predictions."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.core.errors import ClusterError, RunError
from mer_ray.training import train

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# Of 61 clips 30 train beside a fold of 16 and one of 15, else 31: the last of batches of 10 may hold one clip, so that two of three workers
# have none, and 2 and 3 do not both divide the others.
CHANGES = {
    "batch_size": 10,
    "epochs": 5,
    "model": {"name": "attention", "hidden": 16, "dropout": 0.0},
    "protocol": {"name": "folds", "dev": "next_fold"},
    "early_stopping": {"metric": "valence_ccc", "patience": 4},
    "class_weights": {"neutral": 1.0, "angry": 3.0, "happy": 0.5},
    "label_smoothing": 0.1,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), change={number: {"emotion": None} for number in range(0, 61, 9)})


def read_curve(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def single(corpus):
    config = corpus.config("one", **CHANGES)
    train(config)
    return config


@pytest.mark.parametrize("num_workers", [2, 3])
def test_every_epochs_loss_is_that_of_one_worker(ray_cluster, corpus, single, num_workers):
    config = corpus.config(f"workers{num_workers}", num_workers=num_workers, **CHANGES)
    summary = train(config)
    ours, expected = read_curve(config.out), read_curve(single.out)
    assert [(row["fold"], row["epoch"]) for row in ours] == [(row["fold"], row["epoch"]) for row in expected]
    for key in ("train_loss", "train_loss_emotion", "train_loss_valence", "dev_weighted_f1", "dev_valence_mse"):
        assert max(abs(one[key] - other[key]) for one, other in zip(ours, expected, strict=True)) < 1e-4
    found, alone = (pq.read_table(out / "predictions" / "test.parquet") for out in (config.out, single.out))
    assert found["clip_id"].equals(alone["clip_id"]) and found["fold"].equals(alone["fold"])
    for name in ("prob_angry", "valence", "attention_face"):
        assert found[name].is_null().equals(alone[name].is_null())
        assert np.nanmax(np.abs(found[name].to_numpy() - alone[name].to_numpy())) < 1e-3
    assert summary.facts["num_workers"] == num_workers
    assert sorted(path.name for path in config.out.iterdir()) == sorted(path.name for path in single.out.iterdir())
    assert train(config).was_complete


def test_an_error_of_the_workers_arrives_as_it_was_raised(ray_cluster, corpus):
    config = corpus.config("diverges", **{**CHANGES, "num_workers": 2, "learning_rate": 1e30, "gradient_clip": None})
    with pytest.raises(RunError, match=r"fold 0, seed 0, epoch \d: the loss is (nan|inf); lower learning_rate"):
        train(config)
    assert not (config.out / "ray").exists()


def test_more_workers_than_cpus_is_an_error_and_not_a_wait(ray_cluster, corpus):
    with pytest.raises(ClusterError, match="num_workers: 9, but Ray has 4 CPUs here; set num_workers to at most 4"):
        train(corpus.config("crowd", **{**CHANGES, "num_workers": 9}))
