"""Single clips: the worst mistakes, and labels against predicted values.

Shapes: N prediction rows (clip and seed), K clips, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.reporting.runs import Run, SplitPredictions

MAX_POINTS = 3000


@dataclass(frozen=True)
class ClipTexts:
    """Sentences by clip id, and why there are none."""

    by_clip: Mapping[str, str | None]
    note: str | None


def read_texts(run: Run) -> ClipTexts:
    """The clips' sentences from the manifest that the run's config names; where it cannot be read, a note that says so."""
    path = run.config.get("manifest")
    if not isinstance(path, str):
        return ClipTexts({}, "The run's config names no manifest, so the sentences are not shown.")
    try:
        table = read_manifest(Path(path)).table
    except ManifestError as error:
        return ClipTexts({}, f"The sentences are not shown: {error}")
    texts = dict(zip(table["clip_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    note = None if any(texts.values()) else "The corpus has no sentences."
    return ClipTexts(texts, note)


def _mean_by_clip(predictions: SplitPredictions, values_N: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """First row (K,) of each clip, and the mean of `values_N` (N, ...) over the clip's rows (K, ...)."""
    _, first_K, clip_N = np.unique(predictions.clip_ids_N.astype(str), return_index=True, return_inverse=True)
    sums_K = np.zeros((len(first_K), *values_N.shape[1:]))
    np.add.at(sums_K, clip_N, values_N)
    counts_K = np.bincount(clip_N).reshape(-1, *[1] * (values_N.ndim - 1))
    return first_K, sums_K / counts_K


def worst_mistakes(
    labelled: SplitPredictions, classes: tuple[str, ...], texts: Mapping[str, str | None], max_mistakes: int
) -> dict[str, Any]:
    """Wrong clips with the highest probability of the wrong class; probabilities are means over the seeds."""
    if not labelled.num_rows:
        return {"num_wrong": 0, "num_clips": 0, "rows": []}
    first_K, probabilities_KC = _mean_by_clip(labelled, labelled.probabilities_NC)
    labels_K = labelled.labels_N[first_K]
    predicted_K = probabilities_KC.argmax(axis=1)
    confidence_K = probabilities_KC.max(axis=1)
    wrong = np.flatnonzero(predicted_K != labels_K)
    worst = wrong[np.argsort(-confidence_K[wrong], kind="stable")][:max_mistakes]
    rows = [
        {
            "clip_id": str(labelled.clip_ids_N[first_K[clip]]),
            "speaker_id": labelled.speakers_N[first_K[clip]],
            "label": classes[labels_K[clip]],
            "predicted": classes[predicted_K[clip]],
            "text": texts.get(str(labelled.clip_ids_N[first_K[clip]])),
            "probabilities": probabilities_KC[clip].tolist(),
        }
        for clip in worst
    ]
    return {"num_wrong": len(wrong), "num_clips": len(first_K), "rows": rows}


def value_points(predictions: SplitPredictions, name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Label and prediction (mean over the seeds) of every clip with a known label; an even sample of them beyond `MAX_POINTS`."""
    known = predictions.select(np.isfinite(predictions.value_labels_N[name]) & np.isfinite(predictions.values_N[name]))
    found = {"name": name, "num_clips": 0, "clip_ids": [], "labels": [], "predictions": []}
    if known.num_rows:
        first_K, values_K = _mean_by_clip(known, known.values_N[name])
        shown = np.unique(np.linspace(0, len(first_K) - 1, min(len(first_K), MAX_POINTS)).astype(int))
        found["num_clips"] = len(first_K)
        found["clip_ids"] = [str(clip_id) for clip_id in known.clip_ids_N[first_K[shown]]]
        found["labels"] = known.value_labels_N[name][first_K[shown]].tolist()
        found["predictions"] = values_K[shown].tolist()
    return {**found, "scores": {metric: scores[metric] for metric in (f"{name}_ccc", f"{name}_mse") if metric in scores}}
