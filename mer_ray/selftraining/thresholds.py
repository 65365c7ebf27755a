"""How sure a prediction must be to become a pseudo-label.

Shapes: N clips, C classes.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from mer_ray.selftraining.config import SelectionConfig, ThresholdsFromDev

# The threshold of 2409.05007.
DEFAULT = 0.9

RealArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def fixed_thresholds(selection: SelectionConfig, classes: tuple[str, ...]) -> RealArray:
    """The thresholds (C,) that a config gives."""
    given = DEFAULT if selection.threshold is None else selection.threshold
    return np.array([given[name] if isinstance(given, dict) else given for name in classes])


def thresholds_from_dev(
    wanted: ThresholdsFromDev, predicted_N: IntArray, confidence_N: RealArray, label_N: IntArray, weight_N: RealArray, num_classes: int
) -> RealArray:
    """The thresholds (C,) by precision on dev clips that count `weight_N` each; NaN for a class where no threshold reaches it.

    Clips without a label (-1) take no part.
    """
    known_N = label_N >= 0
    is_right_N = (predicted_N == label_N)[known_N]
    predicted_N, confidence_N, weight_N = predicted_N[known_N], confidence_N[known_N], weight_N[known_N]
    if wanted.per == "all":
        return np.full(num_classes, _lowest(wanted, confidence_N, is_right_N, weight_N))
    found = []
    for number in range(num_classes):
        of_class_N = predicted_N == number
        found.append(_lowest(wanted, confidence_N[of_class_N], is_right_N[of_class_N], weight_N[of_class_N]))
    return np.array(found)


def _lowest(wanted: ThresholdsFromDev, confidence_n: RealArray, is_right_n: npt.NDArray[np.bool_], weight_n: RealArray) -> float:
    """The lowest confidence above which the lower bound of the precision reaches what is wanted; NaN where none does."""
    order = np.argsort(-confidence_n, kind="stable")
    sorted_n, weight_n, is_right_n = confidence_n[order], weight_n[order], is_right_n[order]
    mass_n, squares_n = np.cumsum(weight_n), np.cumsum(weight_n**2)
    # Weighted clips tell as much as so many unweighted ones (Kish, 1965).
    size_n = np.divide(mass_n**2, squares_n, out=np.zeros_like(mass_n), where=squares_n > 0)
    precision_n = np.divide(np.cumsum(weight_n * is_right_n), mass_n, out=np.zeros_like(mass_n), where=mass_n > 0)
    # Of equal confidences all are taken, or none.
    is_last_n = np.append(sorted_n[1:] < sorted_n[:-1], True)[: len(sorted_n)]
    reaching = np.flatnonzero(is_last_n & (lower_bound(precision_n, size_n, wanted.level) >= wanted.precision))
    return float(sorted_n[reaching[-1]]) if len(reaching) else float("nan")


def lower_bound(share_n: RealArray, size_n: RealArray, level: float) -> RealArray:
    """The lower end of the one-sided interval of a share seen in so many draws (Wilson, 1927); 0 for none."""
    z = float(ndtri(level))
    size_n = np.maximum(size_n, np.finfo(float).tiny)
    middle_n = share_n + z**2 / (2 * size_n)
    spread_n = z * np.sqrt(share_n * (1 - share_n) / size_n + z**2 / (4 * size_n**2))
    return np.asarray((middle_n - spread_n) / (1 + z**2 / size_n))
