"""Whether a run's probabilities can be believed, as they are and scaled by the run's temperature.

Shapes: N prediction rows (clip and seed), C classes.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mer_ray.objectives import apply_temperature, calibration_error, reliability
from mer_ray.reporting.runs import Run, SplitPredictions
from mer_ray.reporting.words import format_number

# Mean confidence and accuracy nearer than this are called equal; our choice.
CLOSE = 0.02
NOT_KNOWN = "This run was written before temperatures were kept: train it anew to see its confidence scaled."
NOT_FITTED = (
    "No temperature was fitted: that takes dev clips or folds, with at least 10 labelled clips of two emotions "
    "(set protocol.dev, or use protocol folds)."
)


def calibration_of(run: Run, labelled: SplitPredictions, split: str) -> dict[str, Any] | None:
    """Reliability over all predictions (a clip counts once per seed) of one split; None without labelled clips.

    `curves` is one or two of {label, error, bins}, as they are and scaled; `verdict` says in words how sure the run is; `fit` where
    its temperature comes from, None where there is none, and then `note` says why.
    """
    if not labelled.num_rows:
        return None
    probabilities_NC, label_N = torch.as_tensor(labelled.probabilities_NC), torch.as_tensor(labelled.labels_N)
    found: dict[str, Any] = {
        "num_predictions": labelled.num_rows,
        "verdict": _verdict(labelled),
        "curves": [_curve("as it is", probabilities_NC, label_N)],
        "fit": None,
        "note": NOT_FITTED if run.knows_calibration else NOT_KNOWN,
    }
    if run.calibration is None:
        return found
    scaled_NC = _scale(probabilities_NC, labelled, run.calibration)
    found["curves"].append(_curve("scaled", scaled_NC, label_N))
    return {**found, "fit": _fit(run.calibration, split), "note": None}


def _curve(label: str, probabilities_NC: Tensor, label_N: Tensor) -> dict[str, Any]:
    bins = [asdict(one) for one in reliability(probabilities_NC, label_N)]
    return {"label": label, "error": calibration_error(probabilities_NC, label_N), "bins": bins}


def _scale(probabilities_NC: Tensor, predictions: SplitPredictions, calibration: dict[str, Any]) -> Tensor:
    """A fold's predictions by its own temperature, which knows none of its test labels."""
    by_fold = calibration["by_fold"] or {}
    scaled_NC = probabilities_NC.clone()
    for fold in np.unique(predictions.folds_N).tolist():
        rows_N = torch.as_tensor(predictions.folds_N == fold)
        scaled_NC[rows_N] = apply_temperature(probabilities_NC[rows_N], by_fold.get(str(fold), calibration["temperature"]))
    return scaled_NC


def _fit(calibration: dict[str, Any], split: str) -> dict[str, Any]:
    by_fold = list((calibration["by_fold"] or {}).values())
    return {
        "temperature": calibration["temperature"],
        "fitted_on": calibration["fitted_on"],
        "num_clips": calibration["num_clips"],
        "lowest": min(by_fold, default=None),
        "highest": max(by_fold, default=None),
        # Fitted on what it is judged on.
        "is_own": split == "dev" and calibration["fitted_on"] == "dev",
    }


def _verdict(labelled: SplitPredictions) -> str:
    confidence = float(labelled.probabilities_NC.max(axis=1).mean())
    accuracy = float((labelled.predicted_N == labelled.labels_N).mean())
    if abs(confidence - accuracy) < CLOSE:
        word = "On the whole it is as sure as it is right"
    else:
        word = "It is too sure of itself" if confidence > accuracy else "It is less sure than it could be"
    return f"{word}: mean confidence {format_number(confidence)}, accuracy {format_number(accuracy)}."
