"""How much scores vary between single trainings: over folds and seeds.

Shapes: N prediction rows (clip and seed).
"""

import statistics

from mer_ray.objectives import score
from mer_ray.reporting.comparison import to_outcome
from mer_ray.reporting.runs import SplitPredictions


def spread_over_fits(predictions: SplitPredictions, num_classes: int) -> dict[str, float]:
    """The sample standard deviation of each metric over the scores of every fold and seed by itself.

    Absent where there is one fit only, or a fold that leaves the metric undefined. Without folds: over seeds.
    """
    fits = sorted(set(zip(predictions.folds_N.tolist(), predictions.seeds_N.tolist(), strict=True)))
    if len(fits) < 2:
        return {}
    scores = [
        score(to_outcome(predictions.select((predictions.folds_N == fold) & (predictions.seeds_N == seed)), num_classes))
        for fold, seed in fits
    ]
    names = [name for name in scores[0] if all(name in one for one in scores)]
    return {name: float(statistics.stdev([one[name] for one in scores])) for name in names}
