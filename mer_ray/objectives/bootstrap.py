"""Bootstrap intervals of metrics: percentile method over clips (Efron & Tibshirani, 1993, chapter 13).

Shapes: R resamples, N clips.
"""

from collections.abc import Sequence

import torch

from mer_ray.objectives.metrics import Outcome, resampled_scores

NUM_RESAMPLES = 1000
LEVEL = 0.95


def intervals(outcomes: Sequence[Outcome], seed: int, num_resamples: int = NUM_RESAMPLES) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric's mean over seeds, where clips are drawn anew and the trained models stay.

    `outcomes` are one per seed, over the same clips in the same order: a resample takes the same clips for every seed.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    uniform_RN = torch.rand(num_resamples, len(outcomes[0].label_N), generator=generator, dtype=torch.float64)
    per_seed = [resampled_scores(outcome, uniform_RN) for outcome in outcomes]
    bounds = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    found = {}
    for name in per_seed[0]:
        mean_R = torch.stack([scores[name] for scores in per_seed]).mean(dim=0)
        low, high = torch.nanquantile(mean_R, bounds).tolist()
        if low == low:
            found[name] = (low, high)
    return found
