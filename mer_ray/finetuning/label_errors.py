"""Labels that are probably wrong, by confident learning (Northcutt, Jiang & Chuang, 2021, JAIR 70, arXiv 1911.00068).

A class's threshold is the mean held-out probability of the class over the clips with its label (equation 2); a clip counts for the most
probable of the classes whose thresholds it reaches, and is suspected where that is not its label (the off-diagonal of equation 1).

Shapes: N clips, C classes.
"""

import csv
import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mer_ray.core.media_types import FloatArray
from mer_ray.training.training_data import IntArray

COLUMNS = ("clip_id", "speaker_id", "fold", "label", "suspected", "label_probability", "suspected_probability")


@dataclass(frozen=True)
class LabelError:
    """A suspected label: what it says, what the clip looks like instead, with the held-out probabilities of both."""

    row: int
    label: int
    suspected: int
    label_probability: float
    suspected_probability: float


def find_label_errors(probs_NC: FloatArray, label_N: IntArray) -> list[LabelError]:
    """Suspected labels, the least probable first; labels -1 are unknown and take no part."""
    rows = np.flatnonzero(label_N >= 0)
    counts_C = np.bincount(label_N[rows], minlength=probs_NC.shape[1])
    own_N = probs_NC[rows, label_N[rows]]
    sums_C = np.bincount(label_N[rows], weights=own_N, minlength=probs_NC.shape[1])
    # A class without clips has no threshold that a clip could reach.
    thresholds_C = np.where(counts_C > 0, sums_C / np.maximum(counts_C, 1), np.inf)
    reached_NC = np.where(probs_NC >= thresholds_C, probs_NC, -1.0)
    found = []
    for row in rows.tolist():
        best, label = int(reached_NC[row].argmax()), int(label_N[row])
        if reached_NC[row, best] >= 0 and best != label:
            found.append(LabelError(row, label, best, float(probs_NC[row, label]), float(probs_NC[row, best])))
    return sorted(found, key=lambda one: (one.label_probability - one.suspected_probability, one.row))


def label_errors_csv(predictions: pa.Table, classes: tuple[str, ...]) -> tuple[str, int]:
    """The listing as CSV text, from held-out predictions, and how many it lists."""
    probs_NC = np.stack([predictions[f"prob_{name}"].to_numpy() for name in classes], axis=1)
    numbers = {name: number for number, name in enumerate(classes)}
    label_N = np.array([numbers.get(name, -1) for name in predictions["label_emotion"].to_pylist()], np.int64)
    found = find_label_errors(probs_NC, label_N)
    about = {name: predictions[name].to_pylist() for name in ("clip_id", "speaker_id", "fold")}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        own = [about[name][one.row] for name in ("clip_id", "speaker_id", "fold")]
        probabilities = [f"{value:.4f}" for value in (one.label_probability, one.suspected_probability)]
        writer.writerow([*own, classes[one.label], classes[one.suspected], *probabilities])
    return text.getvalue(), len(found)
