"""Training with 1, 2 and 3 workers through Ray Train: the same losses, metrics and predictions."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.core.artefacts import write_json
from mer_ray.core.errors import ClusterError, RunError
from mer_ray.training import train
from mer_ray.training.ray_trainer import ERROR_NAME

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


def test_every_epochs_loss_is_that_of_one_worker(ray_cluster, corpus, single):
    # Three divide no batch; the other tests here have two.
    config = corpus.config("workers", num_workers=3, **CHANGES)
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
    assert summary.facts["num_workers"] == 3
    assert sorted(path.name for path in config.out.iterdir()) == sorted(path.name for path in single.out.iterdir())
    assert train(config).was_complete


def test_an_error_of_the_workers_arrives_as_it_was_raised(ray_cluster, corpus):
    config = corpus.config("diverges", **{**CHANGES, "num_workers": 2, "learning_rate": 1e30, "gradient_clip": None})
    with pytest.raises(RunError, match=r"fold 0, seed 0, epoch \d: the loss is (nan|inf); lower learning_rate"):
        train(config)
    assert not (config.out / "ray").exists()
    write_json(config.out / "ray" / ERROR_NAME, {"kind": "RunError", "message": "left by a killed driver"})
    with pytest.raises(RunError, match="the loss is"):
        train(config)


def test_more_workers_than_cpus_is_an_error_and_not_a_wait(ray_cluster, corpus):
    with pytest.raises(ClusterError, match="num_workers: 9, but Ray has 4 CPUs here; set num_workers to at most 4"):
        train(corpus.config("crowd", **{**CHANGES, "num_workers": 9}))


def largest_difference(ours: list[dict], expected: list[dict]) -> float:
    names = [name for name in expected[0] if name.startswith("train_loss")]
    return max(abs(one[name] - other[name]) for one, other in zip(ours, expected, strict=True) for name in names)


def test_concordance_of_two_workers_is_that_of_the_whole_batch(ray_cluster, corpus):
    changes = {**CHANGES, "value_loss": "ccc", "weighting": "uncertainty"}
    configs = [corpus.config(f"ccc{count}", num_workers=count, **changes) for count in (1, 2)]
    for config in configs:
        train(config)
    assert largest_difference(*(read_curve(config.out) for config in configs)) < 1e-4


def test_unpaired_clips_train_vavl_on_two_workers_as_on_one(ray_cluster, tmp_path):
    """Every seventh clip has sound only, so a worker's part of a batch can lack pictures; batch statistics are those of all workers."""
    corpus = make_corpus(tmp_path, frames=True)
    model = {
        "name": "vavl",
        "width": 8,
        "bottleneck": 4,
        "num_heads": 2,
        "num_encoder_blocks": 1,
        "kernel": 3,
        "dropout": 0,
        "head_dropout": 0,
    }
    changes = {"model": model, "inputs": [{"encoder": "tone", "frames": True}, {"encoder": "face", "frames": True}]}
    changes |= {"batch_size": 4, "epochs": 2, "learning_rate": 1e-3, "optimiser": "adam", "schedule": "constant", "value_loss": "ccc"}
    configs = [corpus.config(f"vavl{count}", num_workers=count, **changes) for count in (1, 2)]
    for config in configs:
        train(config)
    one, two = (read_curve(config.out) for config in configs)
    assert {"train_loss_audio_emotion", "train_loss_vision_reconstruction_face", "train_loss_audio_visual_valence"} <= one[0].keys()
    assert largest_difference(two, one) < 1e-3


def test_fits_in_parallel_are_those_one_after_the_other(ray_cluster, corpus, single):
    config = corpus.config("parallel", num_parallel_fits=2, **CHANGES)
    train(config)
    assert largest_difference(read_curve(config.out), read_curve(single.out)) < 1e-5


def test_an_elastic_training_goes_on_after_a_worker_died(ray_cluster, corpus, single, tmp_path):
    """The worker that meets a file that is not there yet makes it and dies as a lost machine does; the next group goes on."""
    config = corpus.config("elastic", num_workers=(1, 2), checkpoint_interval_s=0.0, **CHANGES)
    text = LETHAL_PLUGIN.format(marker=str(tmp_path / "died"))
    (tmp_path / "lethal.py").write_text(text)
    model = {"name": "plugin", "file": str(tmp_path / "lethal.py"), "class": "LethalConfig", "config": {"hidden": 16, "dropout": 0.0}}
    config = type(config).model_validate(config.model_dump(mode="json") | {"model": model, "allow_plugins": True})
    train(config)
    assert (tmp_path / "died").is_file()
    assert largest_difference(read_curve(config.out), read_curve(single.out)) < 1e-4


LETHAL_PLUGIN = """
import os
import signal
from pathlib import Path

from mer_ray.models import AttentionConfig, AttentionFusion, FusionModelConfig


class LethalConfig(FusionModelConfig):
    hidden: int
    dropout: float

    def build(self, streams, task):
        return Lethal(AttentionConfig(hidden=self.hidden, dropout=self.dropout), streams, task)


class Lethal(AttentionFusion):
    calls = 0

    def forward(self, batch):
        Lethal.calls += 1
        marker = Path({marker!r})
        if self.training and Lethal.calls == 14 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(batch)
"""
