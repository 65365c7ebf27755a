"""Files of predictions against the first of them, clip by clip."""

from collections.abc import Sequence
from typing import Any

from mer_ray.objectives.pairing import difference, holm
from mer_ray.prediction.labels import Labels
from mer_ray.prediction.prediction_files import FilePredictions


def compare_files(
    files: Sequence[FilePredictions], labels: Labels, metric: str, *, seed: int, num_resamples: int, num_swaps: int
) -> list[dict[str, Any]]:
    """Each further file minus the first: difference, 95 % interval (paired bootstrap), p (paired randomisation), p after Holm."""
    first, *others = files
    found = [
        difference(
            [first.outcome],
            [other.outcome],
            metric,
            seed,
            groups_N=labels.speaker_N,
            num_resamples=num_resamples,
            num_swaps=num_swaps,
        )
        for other in others
    ]
    adjusted = holm([one.p_value for one in found])
    return [
        {
            "first": str(first.table.path),
            "other": str(other.table.path),
            "metric": metric,
            "difference": one.mean,
            "interval": None if one.interval is None else list(one.interval),
            "p_value": one.p_value,
            "p_holm": p_holm,
        }
        for other, one, p_holm in zip(others, found, adjusted, strict=True)
    ]
