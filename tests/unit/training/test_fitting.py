import math

import numpy as np
import pytest
import torch
from training_corpus import make_corpus

from mer_ray.core.errors import RunError
from mer_ray.training.communicator import Communicator
from mer_ray.training.fitting import Learner, fit
from mer_ray.training.loading import load_training_data
from mer_ray.training.optimisation import make_schedule
from mer_ray.training.protocol import partitions
from mer_ray.training.run_folder import NoKeeper
from mer_ray.training.worker import choose_device, compute_type, make_worker


def make_learner(corpus, fold=0, seed=0, **changes):
    config = corpus.config(**changes)
    data = load_training_data(config)
    worker = make_worker(config, data, Communicator(), torch.device("cpu"))
    return Learner(config, worker, partitions(config.protocol, data)[fold], seed)


def curve(learner):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in learner.history]


def trained(learner):
    fit(learner, NoKeeper())
    return learner


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(corpus):
    first = curve(trained(make_learner(corpus)))
    assert len(first) == 6 and first == curve(trained(make_learner(corpus)))
    assert first[0]["train_loss"] != curve(trained(make_learner(corpus, seed=1)))[0]["train_loss"]


def test_the_loss_falls_and_the_row_is_its_sum(corpus):
    learner = trained(make_learner(corpus, epochs=30, value_weight=0.5, class_weights="balanced"))
    first, last = learner.history[0], learner.history[-1]
    assert last["train_loss"] < first["train_loss"] / 2
    assert first["train_loss"] == pytest.approx(first["train_loss_emotion"] + 0.5 * first["train_loss_valence"])


def test_the_epochs_loss_is_that_of_all_clips_not_the_mean_of_batches(corpus):
    """With a learning rate that moves nothing, batches of unequal size give the loss of one batch of all."""
    changes = {
        "learning_rate": 1e-12,
        "model": {"name": "attention", "hidden": 8, "dropout": 0.0},
        "class_weights": "balanced",
        "epochs": 1,
    }
    split, whole = (trained(make_learner(corpus, batch_size=size, **changes)).history[0] for size in (7, 100))
    for key in ("train_loss", "train_loss_emotion", "train_loss_valence"):
        assert split[key] == pytest.approx(whole[key], rel=1e-6)


def test_features_are_normalised_by_the_training_rows_alone(corpus):
    learner = make_learner(corpus)
    x_ND = learner.clips.streams["tone"][learner.partition.train]
    assert torch.allclose(x_ND.mean(dim=0), torch.zeros(24), atol=1e-4) and torch.allclose(
        x_ND.std(dim=0, correction=0), torch.ones(24), atol=1e-4
    )
    test_ND = learner.clips.streams["tone"][learner.partition.test["test"]]
    assert test_ND.mean(dim=0).abs().max() > 0.05
    assert set(learner.statistics) == {"tone", "face"}
    assert make_learner(corpus, normalise="speaker").statistics == {}


def test_early_stopping_keeps_the_weights_of_the_best_dev_epoch(corpus):
    changes = {"protocol": {"name": "folds", "dev": "next_fold"}, "early_stopping": {"metric": "valence_mse", "patience": 3}}
    learner = trained(make_learner(corpus, epochs=200, learning_rate=0.05, **changes))
    scores = [row["dev_valence_mse"] for row in learner.history]
    assert learner.best_epoch == int(np.argmin(scores)) and len(scores) == learner.best_epoch + 4 < 200
    last = learner.take_best_weights()
    assert learner.score_dev()["dev_valence_mse"] == pytest.approx(min(scores))
    learner.model.load_state_dict(last)
    assert learner.score_dev()["dev_valence_mse"] == pytest.approx(scores[-1])


def test_without_early_stopping_the_last_epoch_is_the_best(corpus):
    learner = trained(make_learner(corpus))
    assert learner.best_epoch == 5
    before = learner.predict(learner.partition.test["test"]).probs_NC
    learner.take_best_weights()
    assert np.array_equal(learner.predict(learner.partition.test["test"]).probs_NC, before)


def test_a_loss_that_is_not_finite_names_fold_epoch_and_learning_rate(corpus):
    with pytest.raises(
        RunError, match=r"fold 0, seed 0, epoch \d: the loss is (nan|inf); lower learning_rate \(now 1e\+30\), or set gradient_clip"
    ):
        trained(make_learner(corpus, learning_rate=1e30, gradient_clip=None))


@pytest.mark.parametrize("dev", ["none", "next_fold"])
def test_a_last_step_that_diverges_is_told_though_the_loss_before_it_was_finite(corpus, dev):
    protocol = {"name": "folds", "dev": dev}
    learner = make_learner(corpus, learning_rate=1e30, gradient_clip=None, epochs=1, batch_size=100, protocol=protocol)
    with pytest.raises(RunError, match=r"fold 0, seed 0, epoch 0: predictions are not finite; lower learning_rate \(now 1e\+30\)"):
        trained(learner).predict(learner.partition.test["test"])


def test_predictions_sum_to_one_and_attention_leaves_out_missing_streams(corpus):
    learner = trained(make_learner(corpus))
    rows = np.arange(61)
    found = learner.predict(rows)
    assert found.probs_NC.shape == (61, 3) and np.allclose(found.probs_NC.sum(axis=1), 1, atol=1e-6)
    assert found.attention_names == ("tone", "face") and np.allclose(np.nansum(found.attention_NS, axis=1), 1, atol=1e-6)
    assert np.isnan(found.attention_NS[::7, 1]).all() and (found.attention_NS[1:7, 1] > 0).all()
    assert len(learner.predict(np.array([], dtype=np.int64)).probs_NC) == 0


def test_soft_labels_train(tmp_path):
    change = {number: {"emotion_probs": [0.6, 0.3, 0.1]} for number in range(10)}
    learner = trained(make_learner(make_corpus(tmp_path, change=change), epochs=20, class_weights="balanced", label_smoothing=0.1))
    assert learner.history[-1]["train_loss_emotion"] < learner.history[0]["train_loss_emotion"]


def test_the_schedule_rises_then_falls_to_nothing(corpus):
    schedule = make_schedule(corpus.config(warm_up=0.1), 100)
    factors = [schedule(step) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11) and factors[:11] == sorted(factors[:11]) and max(factors) == factors[10] == 1
    assert (
        factors[10:] == sorted(factors[10:], reverse=True)
        and factors[55] == pytest.approx(0.5)
        and math.isclose(factors[100], 0, abs_tol=1e-12)
    )
    assert make_schedule(corpus.config(warm_up=0.0), 10)(0) == 1


def test_precision_and_device_follow_the_machine(corpus):
    config = corpus.config(device="auto")
    assert compute_type(config, torch.device("cpu")) == torch.float32 and compute_type(config, torch.device("cuda")) == torch.bfloat16
    assert compute_type(corpus.config(precision="float32"), torch.device("cuda")) == torch.float32
    assert choose_device(config).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device(corpus.config(device="cpu")).type == "cpu"


def test_cuda_where_there_is_none_is_an_error(corpus):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(RunError, match="no GPU that torch can use; set device: auto or cpu"):
        choose_device(corpus.config(device="cuda"))


def test_bfloat16_trains_and_predicts_in_float32(corpus):
    learner = make_learner(corpus, precision="bfloat16", epochs=20)
    fit(learner, NoKeeper())
    assert learner.history[-1]["train_loss"] < learner.history[0]["train_loss"]
    assert learner.predict(np.arange(5)).probs_NC.dtype == np.float32
