"""How often each class occurs among clips without labels, and what that says of their predictions.

After Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities" (2002). It holds where
only the shares of the classes differ from training, not what a class looks like, and where probabilities are calibrated.

Shapes: N clips, C classes.
"""

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-8
MAX_ITERATIONS = 10_000

RealArray = npt.NDArray[np.float64]


def estimate_prior(probs_NC: npt.ArrayLike, train_prior_C: npt.ArrayLike) -> RealArray:
    """The shares of the classes (C,) that make these predictions most likely, by expectation maximisation (their equation 2.9).

    A class that training did not have stays at 0.
    """
    probs, prior_C = np.asarray(probs_NC, dtype=np.float64), _normalised(train_prior_C)
    target_C = prior_C
    for _ in range(MAX_ITERATIONS):
        found_C = correct_prior(probs, prior_C, target_C).mean(axis=0)
        if np.abs(found_C - target_C).max() < TOLERANCE:
            return np.asarray(found_C)
        target_C = found_C
    return target_C


def correct_prior(probs_NC: npt.ArrayLike, train_prior_C: npt.ArrayLike, target_prior_C: npt.ArrayLike) -> RealArray:
    """Probabilities as they are where classes occur by the target's shares: p times target over training, normalised (equation 2.4)."""
    prior_C, target_C = _normalised(train_prior_C), _normalised(target_prior_C)
    ratio_C = np.divide(target_C, prior_C, out=np.zeros_like(target_C), where=prior_C > 0)
    weighed_NC = np.asarray(probs_NC, dtype=np.float64) * ratio_C
    total_N1 = weighed_NC.sum(axis=1, keepdims=True)
    # Nothing is left of a clip whose every class has a share of 0: it keeps the target's shares.
    return np.where(total_N1 > 0, weighed_NC / np.where(total_N1 > 0, total_N1, 1.0), target_C)


def _normalised(prior_C: npt.ArrayLike) -> RealArray:
    weights_C = np.asarray(prior_C, dtype=np.float64)
    return np.asarray(weights_C / weights_C.sum())
