"""A number of single clips against their signal to noise ratio, which says whether a model listens less to what is noisy.

Shapes: K clips.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from mer_ray.objectives.bootstrap import LEVEL, mean_interval
from mer_ray.reporting.clips import MAX_POINTS
from mer_ray.reporting.scoring import MIN_CLIPS

MAX_BINS = 8
# Of a correlation of exactly 1 the transformation is infinite.
NEARLY_ONE = 1 - 1e-12

FloatArray = npt.NDArray[np.float64]


def relate_to_noise(clip_ids_K: npt.NDArray[Any], snr_K: FloatArray, value_K: FloatArray) -> dict[str, Any]:
    """JSON-able: `num_clips`, `correlation` {value, low, high}, `bins` and `points`.

    `correlation` is Spearman's, None where it is undefined. A bin holds `low` and `high` (its edges in dB), `snr` (mean), `mean` of the
    values with its interval `mean_low`, `mean_high` (percentile bootstrap), `num_clips`: bins of about as many clips each, none below
    `MIN_CLIPS` clips. `points` are single clips: `clip_ids`, `snr`, `values`; an even sample of them beyond `MAX_POINTS`.
    """
    order = np.argsort(snr_K, kind="stable")
    num_bins = min(MAX_BINS, len(order) // MIN_CLIPS)
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), MAX_POINTS)).astype(int))] if len(order) else order
    return {
        "num_clips": len(order),
        "correlation": rank_correlation(snr_K, value_K),
        "bins": [_bin(snr_K[part], value_K[part]) for part in np.array_split(order, num_bins)] if num_bins else [],
        "points": {
            "clip_ids": [str(clip_id) for clip_id in clip_ids_K[shown]],
            "snr": snr_K[shown].tolist(),
            "values": value_K[shown].tolist(),
        },
    }


def rank_correlation(one_K: FloatArray, other_K: FloatArray) -> dict[str, float] | None:
    """Spearman's correlation and its 95 % interval; None below four clips, or where either is the same for all.

    Interval: Fisher's transformation with the standard error sqrt((1 + r^2 / 2) / (K - 3)) (Bonett & Wright, 2000, Psychometrika 65).
    Clips are taken as independent.
    """
    if len(one_K) < 4 or np.ptp(one_K) == 0 or np.ptp(other_K) == 0:
        return None
    # Slow to load, and every command loads this module.
    from scipy.stats import spearmanr

    value = float(spearmanr(one_K, other_K).statistic)
    centre = math.atanh(max(-NEARLY_ONE, min(NEARLY_ONE, value)))
    reach = float(ndtri(1 - (1 - LEVEL) / 2)) * math.sqrt((1 + value**2 / 2) / (len(one_K) - 3))
    return {"value": value, "low": math.tanh(centre - reach), "high": math.tanh(centre + reach)}


def _bin(snr_k: FloatArray, value_k: FloatArray) -> dict[str, Any]:
    low, high = mean_interval(value_k)
    return {
        "low": float(snr_k.min()),
        "high": float(snr_k.max()),
        "snr": float(snr_k.mean()),
        "mean": float(value_k.mean()),
        "mean_low": low,
        "mean_high": high,
        "num_clips": len(snr_k),
    }
