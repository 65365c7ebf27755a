"""Predictions + Batch -> losses and metrics."""

from mer_ray.objectives.bootstrap import intervals
from mer_ray.objectives.losses import ClassWeights, Objective, class_weights
from mer_ray.objectives.metrics import Outcome, confusion, is_better, merge, metric_names, per_class, score

__all__ = [
    "ClassWeights",
    "Objective",
    "Outcome",
    "class_weights",
    "confusion",
    "intervals",
    "is_better",
    "merge",
    "metric_names",
    "per_class",
    "score",
]
