"""Metrics over groups of clips, by the project's own definitions, with bootstrap intervals.

Shapes: N prediction rows (clip and seed), R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import stdtrit
from torch import Tensor

from mer_ray.core.seeding import derive_seed
from mer_ray.objectives.bootstrap import LEVEL, interval, resampled_means
from mer_ray.objectives.metrics import EMOTION_METRICS, Outcome, score
from mer_ray.reporting.runs import SplitPredictions

# Below this an interval of a group spans most of the scale.
MIN_CLIPS = 20


@dataclass(frozen=True)
class GroupScore:
    """A group's emotion metrics, each the mean over the seeds; `resampled` (R,) by metric, None with fewer than `MIN_CLIPS`."""

    group: str
    num_clips: int
    means: dict[str, float]
    resampled: dict[str, Tensor] | None

    def row(self) -> dict[str, Any]:
        """JSON-able: `group`, `num_clips`, `is_small`, and `scores[metric]` = {mean, std (None), low, high (None if small)}."""
        return {"group": self.group, "num_clips": self.num_clips, "is_small": self.resampled is None, "scores": self._scores()}

    def _scores(self) -> dict[str, dict[str, float | None]]:
        found = {}
        for name, mean in self.means.items():
            low, high = (interval(self.resampled[name]) if self.resampled else None) or (None, None)
            found[name] = {"mean": mean, "std": None, "low": low, "high": high}
        return found


@dataclass(frozen=True)
class Gap:
    """The lowest and the highest group of a metric, and the 95 % interval of their difference."""

    lowest: GroupScore
    highest: GroupScore
    difference: float
    low: float
    high: float
    num_comparisons: int


def score_groups(labelled: SplitPredictions, groups_N: npt.NDArray[Any], classes: tuple[str, ...]) -> list[GroupScore]:
    """The groups in the order of their names."""
    return [_score_group(str(group), labelled.select(groups_N == group), classes) for group in sorted(set(groups_N))]


def find_gap(groups: Sequence[GroupScore], metric: str) -> Gap | None:
    """The widest gap between groups of at least `MIN_CLIPS` clips; None where it may be chance, or there are not two such groups.

    The interval is the difference plus and minus t times its bootstrap deviation (Efron & Tibshirani, 1993, chapter 12); t is that of
    95 % shared by all pairs (Bonferroni), because the pair was picked for its gap. Clips are taken as independent.
    """
    known = [(group, group.resampled[metric]) for group in groups if group.resampled is not None]
    if len(known) < 2:
        return None
    ordered = sorted(known, key=lambda pair: pair[0].means[metric])
    (lowest, lowest_R), (highest, highest_R) = ordered[0], ordered[-1]
    num_comparisons = len(known) * (len(known) - 1) // 2
    # Of Student's distribution.
    t = stdtrit(lowest.num_clips + highest.num_clips - 2, 1 - (1 - LEVEL) / 2 / num_comparisons)
    reach = float(t) * float((highest_R - lowest_R).std())
    difference = highest.means[metric] - lowest.means[metric]
    return Gap(lowest, highest, difference, difference - reach, difference + reach, num_comparisons) if difference > reach else None


def _score_group(group: str, part: SplitPredictions, classes: tuple[str, ...]) -> GroupScore:
    seeds = [_sorted_by_clip(part.select(part.seeds_N == seed)) for seed in np.unique(part.seeds_N)]
    outcomes = [Outcome(torch.as_tensor(one.labels_N), torch.as_tensor(one.predicted_N), {}, {}, len(classes)) for one in seeds]
    by_seed = [score(outcome) for outcome in outcomes]
    num_clips = len(set(part.clip_ids_N))
    # A resample takes the same clips for every seed, so all seeds must have predicted the same ones.
    is_alike = all(np.array_equal(one.clip_ids_N, seeds[0].clip_ids_N) for one in seeds)
    return GroupScore(
        group,
        num_clips,
        {name: float(np.mean([scores[name] for scores in by_seed])) for name in EMOTION_METRICS},
        # A seed of its own: groups are other clips, drawn independently.
        resampled_means(outcomes, derive_seed("groups", group)) if num_clips >= MIN_CLIPS and is_alike else None,
    )


def _sorted_by_clip(part: SplitPredictions) -> SplitPredictions:
    return part.select(np.argsort(part.clip_ids_N.astype(str), kind="stable"))
