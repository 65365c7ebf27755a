"""Options that change how a training is computed, and what they may not change."""

import pytest
import torch
from test_fitting import make_learner, trained

from mer_ray.core.batch import Batch
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.training import train
from mer_ray.training.determinism import determinism
from mer_ray.training.modality_dropout import hide_modalities

NO_DROPOUT = {"model": {"name": "attention", "hidden": 16, "dropout": 0.0}, "epochs": 2}


def losses(corpus, **changes):
    return [row["train_loss"] for row in trained(make_learner(corpus, **NO_DROPOUT, **changes)).history]


@pytest.mark.parametrize("num_parts", [2, 3, 50])
def test_parts_of_a_batch_give_the_loss_of_the_whole(corpus, num_parts):
    assert losses(corpus, accumulate=num_parts) == pytest.approx(losses(corpus), rel=1e-5)


def test_parts_of_a_batch_learn_the_weights_of_losses_as_the_whole(corpus):
    rows = [trained(make_learner(corpus, **NO_DROPOUT, weighting="uncertainty", accumulate=count)).history[-1] for count in (1, 4)]
    names = ("log_variance_emotion", "log_variance_valence")
    assert [rows[1][name] for name in names] == pytest.approx([rows[0][name] for name in names], rel=1e-3)


@pytest.mark.slow
def test_a_compiled_network_computes_the_same(corpus):
    assert losses(corpus, compile=True) == pytest.approx(losses(corpus), rel=1e-4)


def test_deterministic_algorithms_are_on_for_the_block_only():
    with determinism(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_hidden_modalities_are_whole_and_nobody_loses_everything(corpus):
    learner = make_learner(corpus)
    batch = learner._collate(torch.arange(61), torch.arange(61))
    torch.manual_seed(0)
    hidden = hide_modalities(batch, learner.data.specs, 0.5)
    assert isinstance(hidden, Batch)
    for name, present_N in hidden.present.items():
        gone_N = batch.present[name] & ~present_N
        assert 5 < gone_N.sum() < 45 and not hidden.streams[name][gone_N].any()
        assert torch.equal(hidden.streams[name][present_N], batch.streams[name][present_N])
    assert torch.stack(list(hidden.present.values())).any(dim=0).all()


def test_modality_dropout_is_refused_where_steps_need_modalities(corpus):
    with pytest.raises(ConfigError, match="modality_dropout: this model trains steps of their own for clips that have audio, vision"):
        train(corpus.config(model={"name": "late_fusion"}, modality_dropout=0.2))


def test_the_best_epochs_leave_their_weights_best_first(corpus):
    stopping = {"protocol": {"name": "folds", "dev": "next_fold"}, "early_stopping": {"metric": "loss", "patience": 9}}
    config = corpus.config(epochs=6, keep_best=2, **stopping)
    train(config)
    files = sorted((config.out / "checkpoints" / "fold0-seed0" / "best_epochs").iterdir())
    kept = [torch.load(file, weights_only=True) for file in files]
    learner = trained(make_learner(corpus, epochs=6, keep_best=2, **stopping))
    ranked = sorted(learner.history, key=lambda row: row["dev_loss"])[:2]
    assert sorted(one["epoch"] for one in kept) == sorted(row["epoch"] for row in ranked)
    assert learner.best_epoch == ranked[0]["epoch"]


def test_an_input_that_a_whole_part_lacks_is_told_before_training(tmp_path):
    """Every seventh clip has no picture: a fold of only these."""
    from training_corpus import make_corpus

    change = {number: {"fold": 0 if number % 7 == 0 else 1 + number % 3} for number in range(61)}
    with pytest.raises(RunError, match=r"no clip of test of fold 0 has face .*; they were extracted, but have no vision: put clips"):
        train(make_corpus(tmp_path, change=change).config())
