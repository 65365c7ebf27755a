"""How far each run lies behind the best one, clip by clip.

Shapes: N clips, R resamples.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mer_ray.objectives.bootstrap import LEVEL, NUM_RESAMPLES
from mer_ray.objectives.metrics import Outcome, resampled_scores
from mer_ray.reporting.runs import SplitPredictions

SEED = 0


def intervals_behind(best: SplitPredictions, others: Sequence[SplitPredictions], num_classes: int, metric: str) -> list[list[float] | None]:
    """The 95 % interval of (other - best), each the mean over its seeds, on the same resampled clips: a paired bootstrap.

    None where a run was scored on other clips than the best, or gives a clip more than one prediction per seed.
    """
    best_ids, best_outcomes = _by_seed(best, num_classes)
    generator = torch.Generator().manual_seed(SEED)
    uniform_RN = torch.rand(NUM_RESAMPLES, len(best_ids), generator=generator, dtype=torch.float64)
    bounds = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    best_R = _resampled_mean(best_outcomes, uniform_RN, metric) if best_outcomes else None
    found: list[list[float] | None] = []
    for other in others:
        ids, outcomes = _by_seed(other, num_classes)
        other_R = _resampled_mean(outcomes, uniform_RN, metric) if outcomes and ids == best_ids else None
        found.append(None if best_R is None or other_R is None else torch.nanquantile(other_R - best_R, bounds).tolist())
    return found


def _by_seed(predictions: SplitPredictions, num_classes: int) -> tuple[list[str], list[Outcome]]:
    """Clip ids in order, and an outcome per seed over exactly these clips; no outcomes where seeds differ in their clips."""
    ids: list[str] = sorted(set(predictions.clip_ids_N))
    outcomes = []
    for seed in np.unique(predictions.seeds_N):
        part = predictions.select(predictions.seeds_N == seed)
        part = part.select(np.argsort(part.clip_ids_N.astype(str), kind="stable"))
        if list(part.clip_ids_N) != ids:
            return ids, []
        outcomes.append(
            Outcome(
                torch.as_tensor(part.labels_N),
                torch.as_tensor(part.predicted_N),
                {name: torch.as_tensor(values_N) for name, values_N in part.value_labels_N.items()},
                {name: torch.as_tensor(values_N) for name, values_N in part.values_N.items()},
                num_classes,
            )
        )
    return ids, outcomes


def _resampled_mean(outcomes: Sequence[Outcome], uniform_RN: Tensor, metric: str) -> Tensor | None:
    scores = [resampled_scores(outcome, uniform_RN) for outcome in outcomes]
    return torch.stack([one[metric] for one in scores]).mean(dim=0) if all(metric in one for one in scores) else None
