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


def mean_by_clip(predictions: SplitPredictions, values_N: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """First row (K,) of each clip, and the mean of `values_N` (N, ...) over the clip's rows (K, ...)."""
    _, first_K, clip_N = np.unique(predictions.clip_ids_N.astype(str), return_index=True, return_inverse=True)
    sums_K = np.zeros((len(first_K), *values_N.shape[1:]))
    np.add.at(sums_K, clip_N, values_N)
    counts_K = np.bincount(clip_N).reshape(-1, *[1] * (values_N.ndim - 1))
    return first_K, sums_K / counts_K


@dataclass(frozen=True)
class ClipMeans:
    """What a run says of each clip: `probabilities_KC`, the mean over its seeds; `labels_K` (-1 = unknown) and speakers as it saw them."""

    clip_ids_K: npt.NDArray[Any]
    speakers_K: npt.NDArray[Any]
    labels_K: npt.NDArray[Any]
    probabilities_KC: npt.NDArray[np.float64]

    def predicted(self) -> npt.NDArray[Any]:
        """The class (K,) of the highest probability."""
        predicted_K: npt.NDArray[Any] = self.probabilities_KC.argmax(axis=1)
        return predicted_K


def clip_means(predictions: SplitPredictions) -> ClipMeans:
    """A row per clip, in the order of their ids."""
    first_K, probabilities_KC = mean_by_clip(predictions, predictions.probabilities_NC)
    return ClipMeans(
        predictions.clip_ids_N[first_K].astype(str), predictions.speakers_N[first_K], predictions.labels_N[first_K], probabilities_KC
    )


def surest_wrong(means: ClipMeans) -> npt.NDArray[Any]:
    """Positions of the clips with a known label that is not predicted, the highest probability of the wrong class first."""
    wrong = np.flatnonzero((means.labels_K >= 0) & (means.predicted() != means.labels_K))
    return wrong[np.argsort(-means.probabilities_KC.max(axis=1)[wrong], kind="stable")]


def worst_mistakes(
    labelled: SplitPredictions, classes: tuple[str, ...], texts: Mapping[str, str | None], max_mistakes: int
) -> dict[str, Any]:
    """Wrong clips with the highest probability of the wrong class; probabilities are means over the seeds."""
    if not labelled.num_rows:
        return {"num_wrong": 0, "num_clips": 0, "rows": []}
    means = clip_means(labelled)
    wrong = surest_wrong(means)
    rows = [
        {
            "clip_id": str(means.clip_ids_K[clip]),
            "speaker_id": means.speakers_K[clip],
            "label": classes[means.labels_K[clip]],
            "predicted": classes[means.predicted()[clip]],
            "text": texts.get(str(means.clip_ids_K[clip])),
            "probabilities": means.probabilities_KC[clip].tolist(),
        }
        for clip in wrong[:max_mistakes]
    ]
    return {"num_wrong": len(wrong), "num_clips": len(means.clip_ids_K), "rows": rows}


def value_points(predictions: SplitPredictions, name: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Label and prediction (mean over the seeds) of every clip with a known label; an even sample of them beyond `MAX_POINTS`."""
    known = predictions.select(np.isfinite(predictions.value_labels_N[name]) & np.isfinite(predictions.values_N[name]))
    found = {"name": name, "num_clips": 0, "clip_ids": [], "labels": [], "predictions": []}
    if known.num_rows:
        first_K, values_K = mean_by_clip(known, known.values_N[name])
        shown = np.unique(np.linspace(0, len(first_K) - 1, min(len(first_K), MAX_POINTS)).astype(int))
        found["num_clips"] = len(first_K)
        found["clip_ids"] = [str(clip_id) for clip_id in known.clip_ids_N[first_K[shown]]]
        found["labels"] = known.value_labels_N[name][first_K[shown]].tolist()
        found["predictions"] = values_K[shown].tolist()
    return {**found, "scores": {metric: scores[metric] for metric in (f"{name}_ccc", f"{name}_mse") if metric in scores}}
