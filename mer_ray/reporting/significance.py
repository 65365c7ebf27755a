"""Whether a run differs from the one that it is compared with by more than chance, clip by clip."""

from collections.abc import Sequence
from dataclasses import dataclass

from mer_ray.objectives.pairing import Difference, are_paired, difference, holm
from mer_ray.reporting.comparison import SEED, outcomes_by_seed
from mer_ray.reporting.runs import Run, SplitPredictions


@dataclass(frozen=True)
class Distance:
    """A run minus the reference on the same clips, with the p-value of the paired randomisation test after Holm's correction."""

    difference: Difference
    p_holm: float


def distances_to(
    reference: int, runs: Sequence[Run], predictions: Sequence[SplitPredictions], metric: str, num_swaps: int
) -> list[Distance | None]:
    """One per run; None for the reference (its position), and for runs on other clips, other labels or another number of seeds."""
    first = runs[reference]
    first_ids, first_outcomes = outcomes_by_seed(predictions[reference], len(first.classes))
    found: list[Difference | None] = []
    for position, (run, one) in enumerate(zip(runs, predictions, strict=True)):
        ids, outcomes = outcomes_by_seed(one, len(run.classes))
        is_same = run.classes == first.classes and run.facts["corpus"] == first.facts["corpus"] and ids == first_ids
        if position != reference and is_same and outcomes and are_paired(first_outcomes, outcomes):
            found.append(difference(first_outcomes, outcomes, metric, SEED, num_swaps=num_swaps))
        else:
            found.append(None)
    adjusted = holm([None if one is None else one.p_value for one in found])
    return [None if one is None or p_holm is None else Distance(one, p_holm) for one, p_holm in zip(found, adjusted, strict=True)]
