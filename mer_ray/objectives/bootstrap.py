"""Bootstrap intervals of metrics: percentile method over clips (Efron & Tibshirani, 1993, chapter 13), or over groups of clips.

Shapes: R resamples, N clips.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mer_ray.objectives.metrics import Outcome, emotion_counts, resampled_scores, score, scores_of_counts, take

NUM_RESAMPLES = 1000
LEVEL = 0.95
# Bounds the memory of the resamples of a mean.
RESAMPLES_AT_ONCE = 50


def intervals(
    outcomes: Sequence[Outcome], seed: int, num_resamples: int = NUM_RESAMPLES, groups_N: Tensor | None = None
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric's mean over seeds, where clips are drawn anew and the trained models stay.

    `outcomes` are one per seed, over the same clips in the same order: a resample takes the same clips for every seed. With
    `groups_N` (a number per clip, such as its speaker's) whole groups are drawn: clips of one speaker are alike.
    """
    means = resampled_means(outcomes, seed, num_resamples, groups_N)
    found = {name: interval(mean_R) for name, mean_R in means.items()}
    return {name: bounds for name, bounds in found.items() if bounds is not None}


def interval(score_R: Tensor) -> tuple[float, float] | None:
    """The 95 % interval over resamples; None where the metric is defined in none of them."""
    bounds = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = torch.nanquantile(score_R, bounds).tolist()
    return (low, high) if low == low else None


def mean_interval(value_N: npt.NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of at least two numbers, where clips are drawn anew."""
    # Slow to load, and every worker loads this module.
    from scipy.stats import bootstrap

    found = bootstrap(
        (value_N,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        batch=RESAMPLES_AT_ONCE,
        confidence_level=LEVEL,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def resampled_means(
    outcomes: Sequence[Outcome], seed: int, num_resamples: int = NUM_RESAMPLES, groups_N: Tensor | None = None
) -> dict[str, Tensor]:
    """Each metric's mean over the seeds (R,), as `intervals`; equal for equal clips, groups and seed, so that runs can be paired."""
    if groups_N is not None:
        return _over_groups(outcomes, seed, num_resamples, groups_N)
    generator = torch.Generator().manual_seed(seed % 2**63)
    uniform_RN = torch.rand(num_resamples, len(outcomes[0].label_N), generator=generator, dtype=torch.float64)
    return _mean([resampled_scores(outcome, uniform_RN) for outcome in outcomes])


def _over_groups(outcomes: Sequence[Outcome], seed: int, num_resamples: int, groups_N: Tensor) -> dict[str, Tensor]:
    """A resample takes as many groups as there are, with all their clips; the number of clips differs between resamples."""
    random = np.random.default_rng(seed % 2**63)
    numbers, number_N = torch.unique(groups_N, return_inverse=True)
    drawn_RG = random.integers(0, len(numbers), (num_resamples, len(numbers)))
    if not any(outcome.values for outcome in outcomes):
        return _mean([_emotion_over_groups(outcome, number_N, drawn_RG) for outcome in outcomes])
    rows_of = [torch.nonzero(number_N == number).flatten() for number in range(len(numbers))]
    drawn = [torch.cat([rows_of[group] for group in drawn_G]) for drawn_G in drawn_RG]
    per_seed = []
    for outcome in outcomes:
        names = list(score(outcome))
        rows = [score(take(outcome, rows_n)) for rows_n in drawn]
        per_seed.append({name: torch.tensor([row.get(name, torch.nan) for row in rows], dtype=torch.float64) for name in names})
    return _mean(per_seed)


def _emotion_over_groups(outcome: Outcome, number_N: Tensor, drawn_RG: npt.NDArray[np.int64]) -> dict[str, Tensor]:
    """Counts of a group are the same in every resample: so no resample has to be scored clip by clip."""
    if not (outcome.label_N >= 0).any():
        return {}
    num_groups = drawn_RG.shape[1]
    times_RG = torch.stack([torch.bincount(drawn_G, minlength=num_groups) for drawn_G in torch.from_numpy(drawn_RG)]).double()
    hit_GC, support_GC, predicted_GC = emotion_counts(outcome, number_N, num_groups)
    return scores_of_counts(times_RG @ hit_GC, times_RG @ support_GC, times_RG @ predicted_GC)


def _mean(per_seed: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    names = [name for name in per_seed[0] if all(name in scores for scores in per_seed)]
    return {name: torch.stack([scores[name] for scores in per_seed]).mean(dim=0) for name in names}
