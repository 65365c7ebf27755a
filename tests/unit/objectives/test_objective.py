import math

import pytest
import torch
from test_losses import example
from torch.nn import functional

from mer_ray.core.batch import Batch, Predictions, Reconstruction
from mer_ray.objectives import LossSettings, Objective
from mer_ray.objectives.losses import emotion_loss_sum, reconstruction_loss_sum, soft_emotion_loss_sum, value_loss_sum


def test_uncertainty_weighting_is_its_closed_form_and_ends_at_the_loss_itself():
    """d/ds (exp(-s) L + 0.5 s) = 0 at s = log 2L for emotion, and of 0.5 exp(-s) L + 0.5 s at s = log L for a value."""
    objective = Objective(("valence",), LossSettings(weighting="uncertainty"))
    means_T, known_T = torch.tensor([0.8, 3.0]), torch.ones(2)
    with torch.no_grad():
        objective.log_variances.copy_(torch.tensor([0.3, -0.7]))
    expected = math.exp(-0.3) * 0.8 + 0.5 * math.exp(0.7) * 3.0 + 0.5 * (0.3 - 0.7)
    assert objective.total(means_T, known_T).item() == pytest.approx(expected, rel=1e-6)
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.5)
    for _ in range(400):
        optimiser.zero_grad()
        objective.total(means_T, known_T).backward()
        optimiser.step()
    assert objective.log_variances.tolist() == pytest.approx([math.log(2 * 0.8), math.log(3.0)], abs=1e-4)


def test_variances_are_those_of_labels_whatever_the_factor_of_their_term():
    means_T, known_T = torch.tensor([0.8, 3.0]), torch.ones(2)
    for factor in (1.0, 0.05):
        objective = Objective(("valence",), LossSettings(weighting="uncertainty", value_weight=factor))
        optimiser = torch.optim.SGD(objective.parameters(), lr=0.5)
        for _ in range(400):
            optimiser.zero_grad()
            objective.total(means_T, known_T).backward()
            optimiser.step()
        assert objective.label_log_variances() == pytest.approx([math.log(2 * 0.8), math.log(3.0)], abs=1e-4)


def test_a_term_without_a_label_moves_no_uncertainty():
    objective = Objective(("valence",), LossSettings(weighting="uncertainty"))
    objective.total(torch.tensor([0.8, 0.0]), torch.tensor([1.0, 0.0])).backward()
    assert objective.log_variances.grad.tolist() == pytest.approx([-0.8 + 0.5, 0.0])


def test_fixed_weights_are_the_factors_of_the_terms():
    objective = Objective(("valence",), LossSettings(value_weight=0.25), ("tone",), 2.0)
    assert objective.terms == ("emotion", "valence", "reconstruction_tone")
    assert objective.total(torch.tensor([1.0, 2.0, 3.0]), torch.ones(3)).item() == pytest.approx(1 + 0.5 + 6)


def test_clips_that_take_no_part_count_nowhere():
    predictions, batch = example()
    target = torch.randn(11, 4)
    predictions.reconstructions["tone"] = Reconstruction(torch.zeros(11, 4), target)
    objective = Objective(("valence",), LossSettings(), ("tone",), 1.0)
    part_B = torch.arange(11) < 6
    some = Batch({}, {}, batch.emotion[:6], {"valence": batch.values["valence"][:6]})
    few = Predictions(predictions.logits[:6], {"valence": predictions.values["valence"][:6]})
    few.reconstructions["tone"] = Reconstruction(torch.zeros(6, 4), target[:6])
    assert torch.allclose(objective.sums(predictions, batch, part_B), objective.sums(few, some))
    assert torch.allclose(objective.masses(batch, part_B).sum(dim=0), objective.masses(some).sum(dim=0))
    assert objective.sums(few, some)[2].item() == pytest.approx(target[:6].square().mean(dim=1).sum().item(), rel=1e-5)


def test_focal_loss_is_its_formula_and_cross_entropy_at_zero():
    torch.manual_seed(0)
    logits_BC, emotion_B = torch.randn(7, 3), torch.tensor([0, 1, 2, -1, 1, 0, 2])
    weights_C = torch.tensor([0.5, 1.0, 3.0])
    known_B = emotion_B >= 0
    p_B = logits_BC.softmax(dim=1)[known_B, emotion_B[known_B]]
    expected = -(weights_C[emotion_B[known_B]] * (1 - p_B) ** 2 * p_B.log()).sum()
    assert emotion_loss_sum(logits_BC, emotion_B, weights_C, focal_gamma=2.0).item() == pytest.approx(expected.item(), rel=1e-5)
    nearly = emotion_loss_sum(logits_BC, emotion_B, weights_C, 0.1, focal_gamma=1e-7)
    assert nearly.item() == pytest.approx(emotion_loss_sum(logits_BC, emotion_B, weights_C, 0.1).item(), rel=1e-5)
    one_hot_BC = functional.one_hot(emotion_B.clamp_min(0), 3).float() * known_B[:, None]
    assert soft_emotion_loss_sum(logits_BC, one_hot_BC, weights_C, 0.1, 2.0).item() == pytest.approx(
        emotion_loss_sum(logits_BC, emotion_B, weights_C, 0.1, 2.0).item(), rel=1e-5
    )


EMOTION_B = torch.tensor([0, -1, 2, 1])
PROBS_BC = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.3, 0.3, 0.4]], dtype=torch.float64)
LABEL_B = torch.tensor([1.0, torch.nan, -2.0, 0.5], dtype=torch.float64)
WEIGHTS_C = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "width"),
    [
        (lambda x: emotion_loss_sum(x, EMOTION_B, WEIGHTS_C, 0.1), 3),
        (lambda x: emotion_loss_sum(x, EMOTION_B, WEIGHTS_C, 0.1, 2.0), 3),
        (lambda x: soft_emotion_loss_sum(x, PROBS_BC, WEIGHTS_C, 0.1), 3),
        (lambda x: soft_emotion_loss_sum(x, PROBS_BC, WEIGHTS_C, 0.1, 2.0), 3),
        (lambda x: value_loss_sum(x[:, 0], LABEL_B), 1),
        (lambda x: reconstruction_loss_sum(x, PROBS_BC, EMOTION_B >= 0), 3),
    ],
    ids=["cross_entropy", "focal", "soft", "soft_focal", "squared_error", "reconstruction"],
)
def test_gradients_are_those_of_finite_differences(loss, width):
    torch.manual_seed(1)
    assert torch.autograd.gradcheck(loss, (torch.randn(4, width, dtype=torch.float64, requires_grad=True),))
