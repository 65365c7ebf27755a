"""Predictions + Batch -> losses and metrics."""

from mer_ray.objectives.bootstrap import intervals
from mer_ray.objectives.losses import EMOTION, ClassWeights, LossSum, Objective, class_weights
from mer_ray.objectives.metrics import Outcome, confusion, is_better, merge, metric_names, per_class, score

__all__ = [
    "EMOTION",
    "ClassWeights",
    "LossSum",
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
