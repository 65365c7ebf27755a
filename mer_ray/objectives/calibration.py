"""How far probabilities can be believed: temperature scaling (Guo et al., 2017) and the expected calibration error.

Shapes: N predictions, C classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Beyond these no run that has learned anything lies; a model that is always right would ask for a temperature of 0.
TEMPERATURE_BOUNDS = (0.05, 20.0)
# One number is fitted; on fewer labels it would say more of them than of the model.
MIN_LABELLED = 10
NUM_BINS = 15
# The smallest normal float32: what softmax rounded to 0 is not impossible.
SMALLEST = torch.finfo(torch.float32).tiny
# torchmetrics gives a confidence of exactly 1 a bin of its own.
BELOW_ONE = 1 - 2.0**-24


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose highest probability lies in [`low`, `high`), the last bin with 1; means are None where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def fit_temperature(probabilities_NC: Tensor, label_N: Tensor) -> float | None:
    """The T that makes softmax(log p / T) most likely for the labels (-1 = unknown, takes no part), within `TEMPERATURE_BOUNDS`.

    T > 1: the model is too sure of itself. None with fewer than `MIN_LABELLED` labels, or labels of one class only.
    """
    # Slow to load, and every worker loads this module.
    from scipy.optimize import minimize_scalar

    logits_NC, known_N = _log(probabilities_NC[label_N >= 0]), label_N[label_N >= 0]
    if len(known_N) < MIN_LABELLED or bool((known_N == known_N[0]).all()):
        return None

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits_NC / math.exp(log_temperature), known_N))

    # The loss is convex in 1 / T, so it has one minimum in log T.
    low, high = (math.log(bound) for bound in TEMPERATURE_BOUNDS)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)


def apply_temperature(probabilities_NC: Tensor, temperature: float) -> Tensor:
    """softmax(log p / T) in the type of `probabilities_NC`: the order of the classes, so every decision, stays."""
    return (_log(probabilities_NC) / temperature).softmax(dim=1).to(probabilities_NC.dtype)


def calibration_error(probabilities_NC: Tensor, label_N: Tensor, num_bins: int = NUM_BINS) -> float | None:
    """The expected calibration error: mean over predictions of |accuracy - confidence| of their bin (Guo et al., 2017, equation 3).

    Bins of equal width; unknown labels (-1) take no part, None without any known. Few predictions make it larger, not smaller.
    """
    known_N = label_N >= 0
    if not known_N.any():
        return None
    # Loaded where it is used: see objectives/metrics.py.
    from torchmetrics.functional.classification import multiclass_calibration_error

    kept_NC = probabilities_NC[known_N].clamp(0, BELOW_ONE)
    return float(multiclass_calibration_error(kept_NC, label_N[known_N], kept_NC.shape[1], n_bins=num_bins, norm="l1"))


def reliability(probabilities_NC: Tensor, label_N: Tensor, num_bins: int = NUM_BINS) -> list[ReliabilityBin]:
    """Confidence and accuracy by bin of confidence, the bins of `calibration_error`."""
    known_N = label_N >= 0
    # float32, as torchmetrics bins.
    confidence_N, predicted_N = probabilities_NC[known_N].clamp(0, BELOW_ONE).float().max(dim=1)
    right_N = (predicted_N == label_N[known_N]).double()
    edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float32)
    bin_N = torch.bucketize(confidence_N, edges, right=True) - 1
    counts, confidences, accuracies = (
        torch.bincount(bin_N, weights=weight_N, minlength=num_bins).tolist()
        for weight_N in (torch.ones_like(right_N), confidence_N.double(), right_N)
    )
    return [
        ReliabilityBin(
            number / num_bins,
            (number + 1) / num_bins,
            int(count),
            confidence / count if count else None,
            accuracy / count if count else None,
        )
        for number, (count, confidence, accuracy) in enumerate(zip(counts, confidences, accuracies, strict=True))
    ]


def _log(probabilities_NC: Tensor) -> Tensor:
    return probabilities_NC.double().clamp_min(SMALLEST).log()
