import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from mer_ray.core.batch import Batch, Predictions
from mer_ray.core.errors import ConfigError
from mer_ray.objectives import LossSettings, Objective, class_weights

NUM_CLIPS, CLASSES = 11, ("a", "b", "c")
WEIGHTS_C = torch.tensor([0.5, 1.0, 3.0])


def example(soft=False):
    torch.manual_seed(0)
    emotion_B = torch.randint(0, 3, (NUM_CLIPS,))
    emotion_B[[2, 5]] = -1
    valence_B = torch.randn(NUM_CLIPS)
    valence_B[[0, 5, 7]] = float("nan")
    probs_BC = functional.one_hot(emotion_B.clamp_min(0), 3).float() * (emotion_B >= 0)[:, None]
    predictions = Predictions(torch.randn(NUM_CLIPS, 3, requires_grad=True), {"valence": torch.randn(NUM_CLIPS, requires_grad=True)})
    return predictions, Batch({}, {}, emotion_B, {"valence": valence_B}, emotion_probs=probs_BC if soft else None)


def part(predictions, batch, rows):
    logits, valence = predictions.logits[rows], predictions.values["valence"][rows]
    probs = None if batch.emotion_probs is None else batch.emotion_probs[rows]
    return Predictions(logits, {"valence": valence}), Batch(
        {}, {}, batch.emotion[rows], {"valence": batch.values["valence"][rows]}, emotion_probs=probs
    )


@pytest.mark.parametrize("weights_C", [None, WEIGHTS_C])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_sums_over_masses_are_torchs_means_over_known_labels(weights_C, smoothing, soft):
    predictions, batch = example(soft)
    objective = Objective(("valence",), LossSettings(weights_C, smoothing))
    emotion, valence = (objective.sums(predictions, batch) / objective.masses(batch).sum(dim=0)).tolist()
    known_B = batch.emotion >= 0
    expected = functional.cross_entropy(predictions.logits[known_B], batch.emotion[known_B], weight=weights_C, label_smoothing=smoothing)
    assert emotion == pytest.approx(expected.item(), rel=1e-5)
    known_B = ~batch.values["valence"].isnan()
    assert valence == pytest.approx(
        functional.mse_loss(predictions.values["valence"][known_B], batch.values["valence"][known_B]).item(), rel=1e-5
    )


@pytest.mark.parametrize("soft", [False, True])
def test_unequal_and_empty_parts_add_up_to_the_whole(soft):
    predictions, batch = example(soft)
    objective = Objective(("valence",), LossSettings(WEIGHTS_C, 0.1, value_weight=0.5))
    whole_T, masses_T = objective.sums(predictions, batch), objective.masses(batch).sum(dim=0)
    parts = [part(predictions, batch, rows) for rows in (slice(0, 7), slice(7, 11), slice(11, 11))]
    assert torch.allclose(sum(objective.sums(*one) for one in parts), whole_T, rtol=1e-5)
    assert torch.allclose(sum(objective.masses(one[1]).sum(dim=0) for one in parts), masses_T)


def test_unknown_labels_get_no_gradient_and_an_empty_part_gets_zero():
    predictions, batch = example()
    Objective(("valence",), LossSettings()).sums(predictions, batch).sum().backward()
    assert not predictions.logits.grad[[2, 5]].any() and predictions.logits.grad[0].any()
    valence_grad = predictions.values["valence"].grad
    assert not valence_grad[[0, 5, 7]].any() and valence_grad[1] != 0 and valence_grad.isfinite().all()
    predictions, batch = example()
    Objective(("valence",), LossSettings()).sums(*part(predictions, batch, slice(0, 0))).sum().backward()
    assert not predictions.logits.grad.any()


def test_a_soft_label_is_the_mixture_of_its_classes():
    logits_BC = torch.tensor([[1.0, -1.0, 0.5]])
    probs_BC = torch.tensor([[0.75, 0.25, 0.0]])
    batch = Batch({}, {}, torch.tensor([0]), {}, emotion_probs=probs_BC)
    log_p = logits_BC.log_softmax(dim=1)[0]
    objective = Objective((), LossSettings(WEIGHTS_C))
    expected = -(0.75 * 0.5 * log_p[0] + 0.25 * 1.0 * log_p[1])
    assert objective.sums(Predictions(logits_BC), batch)[0].item() == pytest.approx(expected.item())
    assert objective.masses(batch)[0, 0].item() == pytest.approx(0.75 * 0.5 + 0.25)


def test_balanced_weights_are_scikit_learns():
    labels_N = np.array([0] * 8 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels_N)
    assert np.allclose(class_weights("balanced", np.bincount(labels_N), CLASSES), expected)
    assert class_weights("none", np.bincount(labels_N), CLASSES) is None


def test_a_class_never_seen_weighs_nothing():
    assert class_weights("balanced", np.array([3, 0, 1]), CLASSES).tolist() == pytest.approx([4 / 6, 0, 2])


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"a": 1.0, "b": 1.0}, "name every class once: a, b, c"), ({"a": 1.0, "b": 1.0, "c": 0.0}, "positive")],
)
def test_explicit_weights_name_every_class(weights, message):
    assert class_weights({"c": 3.0, "a": 1.0, "b": 2.0}, np.ones(3), CLASSES).tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match=message):
        class_weights(weights, np.ones(3), CLASSES)
