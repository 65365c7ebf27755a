"""Scores of parts of a split: by speaker, and by the modalities that a clip has."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mer_ray.reporting.attention import heard_streams, stream_modalities
from mer_ray.reporting.runs import Run, SplitPredictions
from mer_ray.reporting.scoring import score_groups

ALL_PRESENT = "all present"


def scores_by_speaker(labelled: SplitPredictions, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row per speaker, worst first; empty where fewer than two speakers are known."""
    speakers_N = np.asarray(["" if speaker is None else speaker for speaker in labelled.speakers_N], dtype=object)
    if len(set(speakers_N) - {""}) < 2:
        return []
    rows = score_groups(labelled, speakers_N, classes)
    return [{"speaker_id": row.pop("group") or "unknown", **row} for row in sorted(rows, key=lambda row: float(row["accuracy"]))]


def scores_by_presence(labelled: SplitPredictions, run: Run) -> list[dict[str, Any]]:
    """A row per pattern of missing modalities, most clips first; empty where the run stores no attention weights."""
    if not labelled.num_rows or not np.isfinite(labelled.attention_NS).any():
        return []
    rows = score_groups(labelled, _patterns(labelled, run), run.classes)
    return [{"presence": row.pop("group"), **row} for row in sorted(rows, key=lambda row: -int(row["num_clips"]))]


def _patterns(labelled: SplitPredictions, run: Run) -> npt.NDArray[Any]:
    modality_S = np.asarray(stream_modalities(run, labelled.attention_names))
    heard = heard_streams(labelled)
    missing_N: list[list[str]] = [[] for _ in range(labelled.num_rows)]
    for modality in dict.fromkeys(modality_S):
        for row in np.flatnonzero(~heard[:, modality_S == modality].any(axis=1)):
            missing_N[row].append(str(modality))
    return np.asarray([f"without {' and '.join(missing)}" if missing else ALL_PRESENT for missing in missing_N], dtype=object)
