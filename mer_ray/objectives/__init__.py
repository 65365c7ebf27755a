"""Predictions + Batch -> losses and metrics."""

from mer_ray.objectives.bootstrap import intervals
from mer_ray.objectives.calibration import ReliabilityBin, apply_temperature, calibration_error, fit_temperature, reliability
from mer_ray.objectives.losses import ClassWeights, class_weights
from mer_ray.objectives.metrics import Outcome, confusion, is_better, merge, metric_names, per_class, score
from mer_ray.objectives.objective import LossSettings, Objective, ValueLoss, Weighting

__all__ = [
    "ClassWeights",
    "LossSettings",
    "Objective",
    "Outcome",
    "ReliabilityBin",
    "ValueLoss",
    "Weighting",
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
