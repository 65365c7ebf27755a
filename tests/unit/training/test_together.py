import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from training_corpus import make_corpus

from mer_ray.training import train

# Of whole trainings, half a second each.
pytestmark = pytest.mark.slow

NO_DROPOUT = {"name": "attention", "hidden": 16, "dropout": 0.0}
# Statistics of batches, and reconstructions, which count the clips that have the stream.
VAVL = {"name": "vavl", "width": 8, "num_heads": 2, "num_encoder_blocks": 1, "kernel": 3, "dropout": 0.0, "head_dropout": 0.0}


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("framed"), frames=True)


def curves(config):
    return [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]


EXACT = {"fold", "seed", "epoch"}


def numbers(curve):
    """Everything in a curve that must be close, by row and name."""
    return [{name: value for name, value in row.items() if name not in EXACT | {"seconds"}} for row in curve]


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": [{"encoder": "tone"}, {"encoder": "face"}], "class_weights": "balanced"},
        {"inputs": [{"encoder": "tone", "frames": True}, {"encoder": "face"}], "weighting": "uncertainty"},
        {"inputs": [{"encoder": "tone"}, {"encoder": "face"}], "value_loss": "ccc", "focal_gamma": 2.0},
        {
            "inputs": [{"encoder": "tone", "frames": True}, {"encoder": "face"}],
            "model": {"name": "early_fusion", "hidden": 16, "dropout": 0.0},
        },
        {"inputs": [{"encoder": "tone", "frames": True}], "model": VAVL, "learning_rate": 1e-3, "seeds": [0, 1], "epochs": 2},
    ],
    ids=["pooled", "frames_uncertainty", "ccc_focal", "early_fusion", "batch_norm_reconstruction"],
)
def test_folds_and_seeds_at_once_are_those_one_by_one(framed, tmp_path, changes):
    """61 clips in 4 folds: training parts of 45 and 46 clips, whose last batches differ."""
    settings = {"model": NO_DROPOUT, "seeds": [0, 1, 2], "epochs": 4, "batch_size": 20, "gradient_clip": 0.5, **changes}
    alone, together = framed.config(**settings), framed.config(vectorised=True, **settings)
    configs = [one.model_copy(update={"out": tmp_path / name}) for one, name in ((alone, "alone"), (together, "together"))]
    for config in configs:
        train(config)
    expected, found = (curves(config) for config in configs)
    assert [[row[name] for name in EXACT] for row in found] == [[row[name] for name in EXACT] for row in expected]
    for one, other in zip(numbers(found), numbers(expected), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
    tables = [pq.read_table(config.out / "predictions" / "test.parquet") for config in configs]
    assert np.allclose(tables[0]["prob_angry"].to_numpy(), tables[1]["prob_angry"].to_numpy(), atol=1e-3)


def test_each_fit_stops_at_its_own_epoch_as_it_would_alone(framed, tmp_path):
    settings = {
        "model": NO_DROPOUT,
        "seeds": [0, 1],
        "epochs": 40,
        "learning_rate": 0.05,
        "protocol": {"name": "folds", "dev": "next_fold"},
        "early_stopping": {"metric": "valence_mse", "patience": 2},
    }
    configs = [framed.config(vectorised=vectorised, **settings) for vectorised in (False, True)]
    configs = [config.model_copy(update={"out": tmp_path / str(number)}) for number, config in enumerate(configs)]
    for config in configs:
        train(config)
    lengths = [{(row["fold"], row["seed"]): row["epoch"] for row in curves(config)} for config in configs]
    assert len(set(lengths[0].values())) > 1 and lengths[0] == lengths[1]


def test_with_dropout_it_still_learns(framed, tmp_path):
    config = framed.config(vectorised=True, seeds=[0, 1, 2], epochs=20).model_copy(update={"out": tmp_path / "run"})
    assert train(config).scores["test"]["mean"]["weighted_f1"] > 0.6


def test_a_killed_training_goes_on_and_ends_the_same(framed, tmp_path, monkeypatch):
    settings = {"model": NO_DROPOUT, "seeds": [0, 1], "epochs": 6, "checkpoint_interval_s": 0.0, "vectorised": True}
    whole = framed.config(**settings).model_copy(update={"out": tmp_path / "whole"})
    broken = whole.model_copy(update={"out": tmp_path / "broken"})
    train(whole)
    from mer_ray.training.fitting import Learner

    finish, count = Learner.finish_epoch, []

    def fail(learner, row, keeper):
        finish(learner, row, keeper)
        count.append(row)
        if len(count) == 19:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "finish_epoch", fail)
        with pytest.raises(KeyboardInterrupt):
            train(broken)
    train(broken)
    expected, found = curves(whole), curves(broken)
    assert [row["train_loss"] for row in found] == pytest.approx([row["train_loss"] for row in expected], rel=1e-4)


def test_options_that_do_not_go_together_are_refused(framed):
    for changes in (
        {"num_parallel_fits": 2},
        {"accumulate": 2},
        {"modality_dropout": 0.1},
        {"num_workers": 2},
        {"candidates": [{"epochs": 3}]},
    ):
        with pytest.raises(ValueError, match="vectorised"):
            framed.config(vectorised=True, **changes)
