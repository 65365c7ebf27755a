"""A file of predictions against the labels: every labelled name once, nothing else asked.

Shapes: N labelled clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mer_ray.core.counting import say_count
from mer_ray.core.errors import PredictionError
from mer_ray.core.media_types import BoolArray
from mer_ray.objectives import Outcome
from mer_ray.prediction.clip_table import ClipTable
from mer_ray.prediction.labels import Labels, doubled_names, unknown_classes
from mer_ray.prediction.protocols import Protocol


@dataclass(frozen=True)
class FilePredictions:
    """A checked file: its table, and the labelled clips beside their labels.

    `answered_N` is False where the model abstained, None where the file does not say. `num_trained_on` of the labelled clips were
    trained on, as the file notes itself. `notes` tell what is not scored.
    """

    table: ClipTable
    outcome: Outcome
    answered_N: BoolArray | None
    num_beyond: int
    num_trained_on: int
    notes: tuple[str, ...]


def check_predictions(table: ClipTable, labels: Labels, protocol: Protocol) -> FilePredictions:
    """Check one file and put its rows in the order of the labels.

    Raises:
        PredictionError: missing or doubled names, missing or unknown emotions, values that are missing or no finite numbers; a
            line each.

    """
    row_of = {clip_id: row for row, clip_id in enumerate(table.clip_ids)}
    missing = [clip_id for clip_id in labels.clip_ids if clip_id not in row_of]
    faults = [*_missing_names(table, labels, missing), *doubled_names(table)]
    if protocol.has_emotions:
        faults += [*_missing_emotions(table), *unknown_classes(table, labels.classes)]
    rows = [row_of.get(clip_id, -1) for clip_id in labels.clip_ids]
    # The first value ranks where no challenge says which are needed.
    needs = protocol.needs if protocol.has_emotions else tuple(labels.values)[:1]
    scored: list[str] = []
    notes: list[str] = []
    for name, label_N in labels.values.items():
        unpredicted = [] if name not in table.values else _unpredicted(table, name, rows, ~np.isnan(label_N))
        if name in table.values and not unpredicted:
            scored.append(name)
        elif name not in table.values:
            (faults if name in needs else notes).append(f"{table.path}: has no column {name}, which is labelled")
        else:
            what = f"{say_count(len(unpredicted), 'labelled name')} without a finite {name}, e.g. {unpredicted[0]!r}"
            (faults if name in needs else notes).append(f"{table.path}: {what}" + ("" if name in needs else "; it is not scored"))
    if faults:
        raise PredictionError("\n".join(faults))
    index = {name: number for number, name in enumerate(labels.classes)}
    emotions = table.emotions if protocol.has_emotions else None
    outcome = Outcome(
        labels.label_N,
        torch.tensor([0 if emotions is None else index[emotions[row] or ""] for row in rows]),
        {name: torch.from_numpy(labels.values[name]) for name in scored},
        {name: torch.from_numpy(table.values[name][rows]) for name in scored},
        max(len(labels.classes), 1),
    )
    num_beyond = len(table.clip_ids) - len(rows)
    answered_N = None if table.abstained is None else ~table.abstained[rows]
    num_trained_on = 0 if table.trained_on is None else int(table.trained_on[rows].sum())
    return FilePredictions(table, outcome, answered_N, num_beyond, num_trained_on, (*notes, *_wrong_count(table, protocol)))


def _missing_names(table: ClipTable, labels: Labels, missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    verb = "is" if len(missing) == 1 else "are"
    what = f"{len(missing)} of {say_count(len(labels.clip_ids), 'labelled name')} {verb} not predicted, e.g. {missing[0]!r}"
    if len(missing) == len(labels.clip_ids):
        what += f"; the names of this file look like {table.clip_ids[0]!r}"
    return [f"{table.path}: {what}; every name of {labels.path} needs a row"]


def _missing_emotions(table: ClipTable) -> list[str]:
    if table.emotions is None:
        return [f"{table.path}: has no column emotion or discrete"]
    empty = [clip_id for clip_id, emotion in zip(table.clip_ids, table.emotions, strict=True) if emotion is None]
    return [f"{table.path}: {say_count(len(empty), 'name')} without an emotion, e.g. {empty[0]!r}; each needs one"] if empty else []


def _unpredicted(table: ClipTable, name: str, rows: Sequence[int], is_labelled_N: BoolArray) -> list[str]:
    """Predicted clips whose value is labelled, but not predicted as a finite number."""
    wanted = [row for row, is_labelled in zip(rows, is_labelled_N, strict=True) if row >= 0 and is_labelled]
    return [table.clip_ids[row] for row in wanted if not np.isfinite(table.values[name][row])]


def _wrong_count(table: ClipTable, protocol: Protocol) -> list[str]:
    wanted = protocol.num_candidates
    if wanted is None or len(table.clip_ids) == wanted:
        return []
    return [f"{table.path}: {say_count(len(table.clip_ids), 'name')}; the challenge takes files of exactly {wanted}"]
