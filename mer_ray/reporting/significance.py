"""Whether a run is worse than the best one by more than chance, clip by clip."""

from collections.abc import Sequence
from dataclasses import dataclass

from mer_ray.objectives.pairing import Difference, are_paired, difference, holm
from mer_ray.reporting.comparison import SEED, outcomes_by_seed
from mer_ray.reporting.runs import Run, SplitPredictions


@dataclass(frozen=True)
class Distance:
    """A run minus the best run on the same clips, with the p-value of the paired randomisation test after Holm's correction."""

    difference: Difference
    p_holm: float


def distances_to_best(runs: Sequence[Run], predictions: Sequence[SplitPredictions], metric: str, num_swaps: int) -> list[Distance | None]:
    """One per run, the first being the best; None for it, and for runs on other clips, other labels or another number of seeds."""
    best, *others = runs
    best_ids, best_outcomes = outcomes_by_seed(predictions[0], len(best.classes))
    found: list[Difference | None] = []
    for run, one in zip(others, predictions[1:], strict=True):
        ids, outcomes = outcomes_by_seed(one, len(run.classes))
        is_same = run.classes == best.classes and run.facts["corpus"] == best.facts["corpus"] and ids == best_ids
        if is_same and outcomes and are_paired(best_outcomes, outcomes):
            found.append(difference(best_outcomes, outcomes, metric, SEED, num_swaps=num_swaps))
        else:
            found.append(None)
    adjusted = holm([None if one is None else one.p_value for one in found])
    distances = [None if one is None or p_holm is None else Distance(one, p_holm) for one, p_holm in zip(found, adjusted, strict=True)]
    return [None, *distances]
