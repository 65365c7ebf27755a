"""Which streams the model listens to, per emotion.

Shapes: N prediction rows, S attention streams.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import MODALITIES
from mer_ray.reporting.runs import Run, SplitPredictions


def stream_modalities(run: Run, names: tuple[str, ...]) -> list[str]:
    """The modality of each attention weight: its stream's, or its own name where the model weighs whole modalities."""
    by_stream = {stream["name"]: stream["modality"] for stream in run.facts["streams"]}
    return [by_stream.get(name, name if name in MODALITIES else "fused") for name in names]


def heard_streams(predictions: SplitPredictions) -> npt.NDArray[np.bool_]:
    """Where a stream had data: the weight of an absent stream is null in the file, NaN here."""
    return np.isfinite(predictions.attention_NS)


def attention_by_class(predictions: SplitPredictions, run: Run) -> dict[str, Any] | None:
    """Mean weight of each stream over the clips of a class (label, or prediction where the clip has none).

    Only clips that have all streams count, where there are any. None where the run stores fewer than two weights.
    """
    names = predictions.attention_names
    if len(names) < 2 or not np.isfinite(predictions.attention_NS).any():
        return None
    complete_N = np.asarray(heard_streams(predictions).all(axis=1))
    kept = predictions.select(complete_N) if complete_N.any() else predictions
    classes_N = np.where(kept.labels_N >= 0, kept.labels_N, kept.predicted_N)
    rows = []
    for position, name in enumerate(run.classes):
        weights_NS = np.nan_to_num(kept.attention_NS[classes_N == position])
        if len(weights_NS):
            rows.append(
                {"class": name, "num_clips": len(set(kept.clip_ids_N[classes_N == position])), "weights": weights_NS.mean(axis=0).tolist()}
            )
    return {"names": list(names), "modalities": stream_modalities(run, names), "only_complete": bool(complete_N.any()), "rows": rows}
