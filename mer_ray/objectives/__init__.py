"""Predictions + Batch -> losses and metrics."""

from mer_ray.objectives.bootstrap import intervals
from mer_ray.objectives.calibration import ReliabilityBin, apply_temperature, calibration_error, fit_temperature, reliability
from mer_ray.objectives.losses import ClassWeights, Objective, class_weights
from mer_ray.objectives.metrics import Outcome, confusion, is_better, merge, metric_names, per_class, score

__all__ = [
    "ClassWeights",
    "Objective",
    "Outcome",
    "ReliabilityBin",
    "apply_temperature",
    "calibration_error",
    "class_weights",
    "confusion",
    "fit_temperature",
    "intervals",
    "is_better",
    "merge",
    "metric_names",
    "per_class",
    "reliability",
    "score",
]
