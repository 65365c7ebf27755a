"""How far each run lies behind the best one, clip by clip.

Shapes: N clips, R resamples.
"""

from collections.abc import Sequence

import numpy as np
import torch

from mer_ray.objectives.bootstrap import interval, resampled_means
from mer_ray.objectives.metrics import Outcome
from mer_ray.reporting.runs import SplitPredictions

SEED = 0


def intervals_behind(best: SplitPredictions, others: Sequence[SplitPredictions], num_classes: int, metric: str) -> list[list[float] | None]:
    """The 95 % interval of (other - best), each the mean over its seeds, on the same resampled clips: a paired bootstrap.

    None where a run was scored on other clips than the best, or gives a clip more than one prediction per seed.
    """
    best_ids, best_outcomes = outcomes_by_seed(best, num_classes)
    best_R = resampled_means(best_outcomes, SEED).get(metric) if best_outcomes else None
    found: list[list[float] | None] = []
    for other in others:
        ids, outcomes = outcomes_by_seed(other, num_classes)
        other_R = resampled_means(outcomes, SEED).get(metric) if outcomes and ids == best_ids else None
        bounds = None if best_R is None or other_R is None else interval(other_R - best_R)
        found.append(None if bounds is None else list(bounds))
    return found


def outcomes_by_seed(predictions: SplitPredictions, num_classes: int) -> tuple[list[str], list[Outcome]]:
    """Clip ids in order, and an outcome per seed over exactly these clips; no outcomes where seeds differ in their clips."""
    ids: list[str] = sorted(set(predictions.clip_ids_N))
    outcomes = []
    for seed in np.unique(predictions.seeds_N):
        part = predictions.select(predictions.seeds_N == seed)
        part = part.select(np.argsort(part.clip_ids_N.astype(str), kind="stable"))
        if list(part.clip_ids_N) != ids:
            return ids, []
        outcomes.append(to_outcome(part, num_classes))
    return ids, outcomes


def labelled_ids(predictions: SplitPredictions) -> frozenset[str]:
    """The clips that have a label, an emotion or a value."""
    is_labelled_N = predictions.labels_N >= 0
    for values_N in predictions.value_labels_N.values():
        is_labelled_N = is_labelled_N | np.isfinite(values_N)
    return frozenset(predictions.clip_ids_N[is_labelled_N])


def to_outcome(part: SplitPredictions, num_classes: int) -> Outcome:
    """The rows as metrics take them."""
    return Outcome(
        torch.as_tensor(part.labels_N),
        torch.as_tensor(part.predicted_N),
        {name: torch.as_tensor(values_N) for name, values_N in part.value_labels_N.items()},
        {name: torch.as_tensor(values_N) for name, values_N in part.values_N.items()},
        num_classes,
    )
