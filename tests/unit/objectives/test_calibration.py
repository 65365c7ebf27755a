import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.distributions import Categorical

from mer_ray.objectives import apply_temperature, calibration_error, fit_temperature, reliability
from mer_ray.objectives.calibration import MIN_LABELLED, TEMPERATURE_BOUNDS


def planted(temperature, num_rows=4000, num_classes=5, seed=0):
    """Labels drawn from softmax(z); the model says softmax(z * temperature), so dividing by the temperature mends it."""
    torch.manual_seed(seed)
    logits_NC = 2 * torch.randn(num_rows, num_classes)
    return (logits_NC * temperature).softmax(dim=1), Categorical(logits=logits_NC).sample()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_a_planted_temperature_is_found(temperature):
    assert fit_temperature(*planted(temperature)) == pytest.approx(temperature, rel=0.06)


def test_no_other_temperature_is_likelier_by_scikit_learn():
    probabilities_NC, label_N = planted(3.0, num_rows=300)
    found = fit_temperature(probabilities_NC, label_N)
    losses = {t: log_loss(label_N, apply_temperature(probabilities_NC.double(), t)) for t in (found, *np.geomspace(0.1, 20, 60))}
    assert min(losses, key=losses.get) == found


def test_unknown_labels_take_no_part():
    probabilities_NC, label_N = planted(2.5, num_rows=200)
    more_NC = torch.cat([probabilities_NC, probabilities_NC.flip(1)])
    more_N = torch.cat([label_N, torch.full_like(label_N, -1)])
    assert fit_temperature(more_NC, more_N) == fit_temperature(probabilities_NC, label_N)
    assert calibration_error(more_NC, more_N) == calibration_error(probabilities_NC, label_N)
    assert reliability(more_NC, more_N) == reliability(probabilities_NC, label_N)


def test_too_few_labels_or_one_class_give_none():
    probabilities_NC, label_N = planted(2.0, num_rows=MIN_LABELLED)
    assert fit_temperature(probabilities_NC, label_N) is not None
    assert fit_temperature(probabilities_NC[1:], label_N[1:]) is None
    assert fit_temperature(probabilities_NC, torch.zeros_like(label_N)) is None
    assert fit_temperature(probabilities_NC, torch.full_like(label_N, -1)) is None
    assert calibration_error(probabilities_NC, torch.full_like(label_N, -1)) is None


def test_models_that_are_always_right_or_wrong_stay_within_the_bounds():
    label_N = torch.arange(30) % 3
    probabilities_NC = torch.eye(3)[label_N] * 0.7 + 0.1
    # So near the bound the loss is 0 to the last bit.
    assert TEMPERATURE_BOUNDS[0] < fit_temperature(probabilities_NC, label_N) < 1.2 * TEMPERATURE_BOUNDS[0]
    assert 0.99 * TEMPERATURE_BOUNDS[1] < fit_temperature(probabilities_NC, (label_N + 1) % 3) < TEMPERATURE_BOUNDS[1]


def test_probabilities_that_were_rounded_to_zero_are_no_obstacle():
    probabilities_NC, label_N = torch.eye(3)[torch.arange(30) % 3], torch.arange(30) % 3
    label_N[0] = 1
    temperature = fit_temperature(probabilities_NC, label_N)
    scaled_NC = apply_temperature(probabilities_NC, temperature)
    assert scaled_NC.isfinite().all() and scaled_NC.sum(dim=1).numpy() == pytest.approx(1)
    assert 0.9 < scaled_NC.max() < 1


def test_temperature_keeps_decisions_and_one_changes_nothing():
    probabilities_NC, _ = planted(2.0, num_rows=100)
    assert apply_temperature(probabilities_NC, 1.0).numpy() == pytest.approx(probabilities_NC.numpy(), abs=1e-6)
    softer_NC = apply_temperature(probabilities_NC, 3.0)
    assert softer_NC.dtype == torch.float32
    assert torch.equal(softer_NC.argmax(dim=1), probabilities_NC.argmax(dim=1))
    assert (softer_NC.max(dim=1).values < probabilities_NC.max(dim=1).values).all()


def test_the_error_of_a_hand_example():
    # Two of four right at 0.92, none of two right at 0.64: (4 * |0.5 - 0.92| + 2 * |0 - 0.64|) / 6.
    confidence_N = torch.tensor([0.92, 0.92, 0.92, 0.92, 0.64, 0.64], dtype=torch.float64)
    probabilities_NC = torch.stack([confidence_N, 1 - confidence_N], dim=1)
    label_N = torch.tensor([0, 0, 1, 1, 1, 1])
    assert calibration_error(probabilities_NC, label_N, num_bins=10) == pytest.approx((4 * 0.42 + 2 * 0.64) / 6, abs=1e-6)
    filled = [one for one in reliability(probabilities_NC, label_N, num_bins=10) if one.count]
    assert [(one.count, one.accuracy) for one in filled] == [(2, 0.0), (4, 0.5)]
    assert [one.confidence for one in filled] == pytest.approx([0.64, 0.92])
    assert all(one.low <= one.confidence < one.high for one in filled)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0, 60.0])
def test_the_error_is_the_mean_gap_of_the_bins(temperature):
    # At 60 float32 gives confidences of exactly 1.
    probabilities_NC, label_N = planted(temperature, num_rows=500)
    bins = reliability(probabilities_NC, label_N)
    assert sum(one.count for one in bins) == 500
    gap = sum(one.count * abs(one.accuracy - one.confidence) for one in bins if one.count) / 500
    assert calibration_error(probabilities_NC, label_N) == pytest.approx(gap, abs=1e-5)
    assert (bins[0].low, bins[-1].high) == (0, 1) and bins[0].confidence is None


def test_the_fitted_temperature_mends_the_error():
    probabilities_NC, label_N = planted(4.0)
    before = calibration_error(probabilities_NC, label_N)
    after = calibration_error(apply_temperature(probabilities_NC, fit_temperature(probabilities_NC, label_N)), label_N)
    assert before > 0.15 and after < 0.03
