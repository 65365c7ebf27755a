"""The scores of one file, JSON-able."""

from typing import Any

import torch

from mer_ray.objectives import confusion, intervals, per_class, score
from mer_ray.objectives.metrics import take
from mer_ray.prediction.labels import Labels
from mer_ray.prediction.prediction_files import FilePredictions


def score_file(predictions: FilePredictions, labels: Labels, official: str, seed: int, num_resamples: int) -> dict[str, Any]:
    """Metrics with their intervals, the official one first; per class; confusion (rows are labels); and the same of the answered clips.

    Clips on which the model abstained carry an emotion and are scored like the others: `abstention` says what it is without them.
    """
    outcome = predictions.outcome
    scores = _first(score(outcome), official)
    found = intervals([outcome], seed, num_resamples, labels.speaker_N)
    has_emotions = bool(labels.classes)
    return {
        "path": str(predictions.table.path),
        "official": scores.get(official),
        "scores": scores,
        "intervals": {name: list(found[name]) for name in scores if name in found},
        "per_class": dict(zip(labels.classes, per_class(outcome), strict=True)) if has_emotions else {},
        "confusion": confusion(outcome) if has_emotions else [],
        "abstention": _abstention(predictions, official),
        "num_predicted": len(predictions.table.clip_ids),
        "num_beyond_labels": predictions.num_beyond,
        "num_trained_on": predictions.num_trained_on,
        "notes": list(predictions.notes),
    }


def _abstention(predictions: FilePredictions, official: str) -> dict[str, Any] | None:
    if predictions.answered_N is None:
        return None
    answered_N = torch.from_numpy(predictions.answered_N)
    num_answered = int(answered_N.sum())
    return {
        "num_abstained": len(answered_N) - num_answered,
        "coverage": num_answered / len(answered_N),
        "scores_of_answered": _first(score(take(predictions.outcome, answered_N)), official) if num_answered else {},
    }


def _first(scores: dict[str, float], official: str) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: item[0] != official))
