"""Metrics over groups of clips, by the project's own definitions.

Shapes: N prediction rows (clip and seed).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mer_ray.objectives.metrics import EMOTION_METRICS, Outcome, score
from mer_ray.reporting.runs import SplitPredictions


def score_groups(labelled: SplitPredictions, groups_N: npt.NDArray[Any], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row per group: `group`, `num_clips`, and the emotion metrics, each the mean over the seeds."""
    rows = []
    for group in sorted(set(groups_N)):
        part = labelled.select(groups_N == group)
        by_seed = [_score_emotion(part.select(part.seeds_N == seed), len(classes)) for seed in np.unique(part.seeds_N)]
        means = {name: float(np.mean([scores[name] for scores in by_seed])) for name in EMOTION_METRICS}
        rows.append({"group": group, "num_clips": len(set(part.clip_ids_N)), **means})
    return rows


def _score_emotion(part: SplitPredictions, num_classes: int) -> dict[str, float]:
    return score(Outcome(torch.as_tensor(part.labels_N), torch.as_tensor(part.predicted_N), {}, {}, num_classes))
