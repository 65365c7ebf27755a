"""Two sets of predictions on the same clips: their difference, its interval, and whether it may be chance.

Shapes: R resamples or swaps, N clips, G groups of clips that are swapped together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mer_ray.objectives.bootstrap import NUM_RESAMPLES, interval, resampled_means
from mer_ray.objectives.metrics import Outcome, score, swapped_scores

NUM_SWAPS = 9999
# Bounds the memory: clips x swaps at a time.
MAX_SWAPPED = 2_000_000

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """`other` minus `first` in one metric: mean over seeds, 95 % interval of the paired bootstrap, p of the randomisation test."""

    mean: float
    interval: tuple[float, float] | None
    p_value: float


def are_paired(first: Sequence[Outcome], other: Sequence[Outcome]) -> bool:
    """Whether clips can be swapped: as many seeds on both sides, and the same labels."""
    return len(first) == len(other) and all(_same_labels(one, two) for one, two in zip(first, other, strict=True))


def difference(
    first: Sequence[Outcome],
    other: Sequence[Outcome],
    metric: str,
    seed: int,
    *,
    groups_N: Tensor | None = None,
    num_resamples: int = NUM_RESAMPLES,
    num_swaps: int = NUM_SWAPS,
) -> Difference:
    """Compare predictions of the same clips in the same order, one outcome per seed, `are_paired`; the metric is defined on both.

    The p-value is two-sided, by the paired randomisation test (Noreen, 1989; Yeh, 2000): were the two alike, swapping their
    predictions of a clip (of all seeds together) would change nothing. With `groups_N` (a number per clip, such as its speaker's)
    whole groups are drawn for the interval (see `intervals`) and swapped for the p-value, so that both take clips of a group as alike.
    """
    mean = float(np.mean([score(two)[metric] - score(one)[metric] for one, two in zip(first, other, strict=True)]))
    first_R, other_R = (resampled_means(outcomes, seed, num_resamples, groups_N)[metric] for outcomes in (first, other))
    return Difference(mean, interval(other_R - first_R), _p_value(first, other, metric, seed, num_swaps, groups_N))


def smallest_p(num_groups: int, num_swaps: int = NUM_SWAPS) -> float:
    """The least p-value that so many groups, or clips, can give: few have few ways to be swapped."""
    return 2.0 / min(1 << num_groups, num_swaps + 1)


def _p_value(first: Sequence[Outcome], other: Sequence[Outcome], metric: str, seed: int, num_swaps: int, groups_N: Tensor | None) -> float:
    # Slow to load, and every worker loads this module.
    from scipy.stats import permutation_test

    num_clips = len(first[0].label_N)
    group_N = torch.arange(num_clips) if groups_N is None else torch.unique(groups_N, return_inverse=True)[1]
    num_groups = int(group_N.max()) + 1

    def distance(first_RG: FloatArray, other_RG: FloatArray, axis: int) -> FloatArray:
        """The difference where each side takes the predictions that its array names: 0 of the first, 1 of the other."""
        swapped_RN = torch.from_numpy(np.atleast_2d(first_RG) == 1)[:, group_N]
        found_R = _mean(other, first, swapped_RN, metric) - _mean(first, other, swapped_RN, metric)
        return np.asarray(found_R.numpy().reshape(np.shape(first_RG)[:-1]))

    found = permutation_test(
        (np.zeros(num_groups), np.ones(num_groups)),
        distance,
        permutation_type="samples",
        vectorized=True,
        n_resamples=num_swaps,
        batch=max(1, MAX_SWAPPED // num_clips),
        rng=np.random.default_rng(seed % 2**63),
    )
    return float(found.pvalue)


def _mean(outcomes: Sequence[Outcome], others: Sequence[Outcome], swapped_RN: Tensor, metric: str) -> Tensor:
    return torch.stack([swapped_scores(one, two, swapped_RN)[metric] for one, two in zip(outcomes, others, strict=True)]).mean(dim=0)


def _same_labels(one: Outcome, two: Outcome) -> bool:
    values = [name for name in one.value_labels if name in two.value_labels]
    return torch.equal(one.label_N, two.label_N) and all(
        torch.equal(one.value_labels[name].nan_to_num(torch.inf), two.value_labels[name].nan_to_num(torch.inf)) for name in values
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values of several tests (Holm, 1979): the smallest times m, the next times m - 1, ..., never decreasing, at most 1.

    None stays None and does not count as a test.
    """
    order = sorted((p_value, place) for place, p_value in enumerate(p_values) if p_value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p_value, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_value))
        adjusted[place] = largest
    return adjusted
