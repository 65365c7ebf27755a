"""A clip that weighs n counts as n clips."""

import pytest
import torch
from test_losses import WEIGHTS_C, example

from mer_ray.core.batch import Batch, Predictions, Reconstruction
from mer_ray.objectives import LossSettings, Objective

TIMES_B = torch.tensor([1, 3, 2, 1, 1, 2, 1, 4, 1, 1, 2])


def gradient(logits, valence, target, batch, times_B, settings):
    """Of the batch's loss in logits and values, summed over the copies of a clip."""
    rows = torch.arange(len(TIMES_B)).repeat_interleave(times_B)
    logits, valence = logits.detach().clone().requires_grad_(), valence.detach().clone().requires_grad_()
    rebuilt = Reconstruction(torch.zeros_like(target)[rows], target[rows])
    predictions = Predictions(logits[rows], {"valence": valence[rows]}, reconstructions={"tone": rebuilt})
    taken = Batch(
        {},
        {},
        batch.emotion[rows],
        {"valence": batch.values["valence"][rows]},
        emotion_probs=None if batch.emotion_probs is None else batch.emotion_probs[rows],
        weight=None if batch.weight is None else batch.weight[rows],
    )
    objective = Objective(("valence",), settings, ("tone",), 1.0)
    means_T = objective.sums(predictions, taken) / objective.masses(taken).sum(dim=0)
    objective.total(means_T, torch.ones(3)).backward()
    return means_T.detach(), logits.grad, valence.grad


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("settings", [LossSettings(WEIGHTS_C, 0.1), LossSettings(focal_gamma=2.0)])
def test_the_gradient_is_that_of_duplicated_clips(soft, settings):
    predictions, batch = example(soft)
    target = torch.randn(len(TIMES_B), 4)
    arrays = predictions.logits, predictions.values["valence"], target
    duplicated = gradient(*arrays, batch, TIMES_B, settings)
    weighed = Batch({}, {}, batch.emotion, batch.values, emotion_probs=batch.emotion_probs, weight=TIMES_B.float())
    found = gradient(*arrays, weighed, torch.ones_like(TIMES_B), settings)
    for one, other in zip(found, duplicated, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)
    plain = gradient(*arrays, batch, torch.ones_like(TIMES_B), settings)
    assert not torch.allclose(found[1], plain[1], rtol=1e-3)


@pytest.mark.parametrize("soft", [False, True])
def test_weights_of_one_change_nothing(soft):
    predictions, batch = example(soft)
    weighed = Batch({}, {}, batch.emotion, batch.values, emotion_probs=batch.emotion_probs, weight=torch.ones(len(TIMES_B)))
    objective = Objective(("valence",), LossSettings(WEIGHTS_C, 0.1))
    assert torch.allclose(objective.sums(predictions, weighed), objective.sums(predictions, batch), rtol=1e-6)
    assert torch.equal(objective.masses(weighed), objective.masses(batch))
