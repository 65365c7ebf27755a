"""Predictions as rows for people and files.

Shapes: N clips, C classes.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.batch import TaskSpec
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import MODALITIES
from mer_ray.prediction.bundle import BundlePredictions
from mer_ray.prediction.voting import Decision
from mer_ray.prediction.wanted_clips import WantedClips

PRIOR = "nothing: this is the prior"
TRAINED_ON = "the models were trained on this clip"


@dataclass(frozen=True)
class ClipPrediction:
    """One clip or window: `confidence` is the highest of `probabilities`; `used` names the modalities that the clip had.

    `values` lacks what there was nothing to say of. `note` says which inputs failed and why.
    """

    clip_id: str
    start_s: float | None
    end_s: float | None
    emotion: str
    confidence: float
    abstained: bool
    probabilities: dict[str, float]
    values: dict[str, float]
    used: tuple[str, ...]
    note: str | None


def prediction_schema(task: TaskSpec) -> pa.Schema:
    """The columns of a table of predictions."""
    return pa.schema(
        [
            pa.field("clip_id", pa.string(), nullable=False),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            pa.field("emotion", pa.string(), nullable=False),
            ("confidence", pa.float32()),
            ("abstained", pa.bool_()),
            *[(f"prob_{name}", pa.float32()) for name in task.classes],
            *[(name, pa.float32()) for name in task.values],
            ("used", pa.string()),
            ("note", pa.string()),
        ]
    )


def make_table(
    wanted: WantedClips, predictions: BundlePredictions, faults: Mapping[str, Sequence[str]], task: TaskSpec, abstain_below: float
) -> pa.Table:
    """A row per clip or window, in the order of the clips; `abstained` where the confidence lies below `abstain_below`."""
    confidence_N = predictions.probs_NC.max(axis=1)
    segments = wanted.manifest.table.select(["start_s", "end_s"])
    columns = {
        "clip_id": wanted.source_ids,
        "start_s": segments["start_s"],
        "end_s": segments["end_s"],
        "emotion": [task.classes[number] for number in predictions.probs_NC.argmax(axis=1).tolist()],
        "confidence": confidence_N,
        "abstained": confidence_N < abstain_below,
        **{f"prob_{name}": predictions.probs_NC[:, number] for number, name in enumerate(task.classes)},
        **{name: pa.array(value_N, pa.float32(), from_pandas=True) for name, value_N in predictions.values.items()},
        "used": _used(predictions, len(wanted.source_ids)),
        "note": ["; ".join(dict.fromkeys(faults[clip_id])) if clip_id in faults else None for clip_id in wanted.clip_ids],
    }
    return pa.table(columns, schema=prediction_schema(task))


def vote_table(clip_ids: Sequence[str], decision: Decision, values: Mapping[str, np.ndarray], task: TaskSpec) -> pa.Table:
    """The rows of a vote; `emotion` is its class, `confidence` its combined probability, which need not be the highest."""
    count = len(clip_ids)
    columns = {
        "clip_id": list(clip_ids),
        "start_s": pa.nulls(count, pa.float64()),
        "end_s": pa.nulls(count, pa.float64()),
        "emotion": [task.classes[number] for number in decision.class_N.tolist()],
        "confidence": pa.array(decision.confidence_N, pa.float32()),
        "abstained": [False] * count,
        **{f"prob_{name}": pa.array(decision.probs_NC[:, number], pa.float32()) for number, name in enumerate(task.classes)},
        **{name: pa.array(value_N, pa.float32(), from_pandas=True) for name, value_N in values.items()},
        "used": pa.nulls(count, pa.string()),
        "note": pa.nulls(count, pa.string()),
    }
    return pa.table(columns, schema=prediction_schema(task))


def _used(predictions: BundlePredictions, num_clips: int) -> list[str]:
    names = [name for name in MODALITIES if name in predictions.used]
    return ["+".join(name for name in names if predictions.used[name][row]) or PRIOR for row in range(num_clips)]


def prior_rows(clip_ids: Sequence[str], probs: Sequence[float], values: Sequence[float | None], task: TaskSpec, note: str) -> pa.Table:
    """Rows for clips of which nothing is there."""
    best = int(np.argmax(probs))
    row: dict[str, Any] = {"emotion": task.classes[best], "confidence": probs[best], "abstained": True, "used": PRIOR, "note": note}
    row |= {f"prob_{name}": probs[number] for number, name in enumerate(task.classes)} | dict(zip(task.values, values, strict=True))
    return pa.Table.from_pylist([{"clip_id": clip_id, **row} for clip_id in clip_ids], schema=prediction_schema(task))


def to_predictions(table: pa.Table, task: TaskSpec) -> list[ClipPrediction]:
    """The rows as objects."""
    return [
        ClipPrediction(
            **{name: row[name] for name in ("clip_id", "start_s", "end_s", "emotion", "confidence", "abstained", "note")},
            probabilities={name: row[f"prob_{name}"] for name in task.classes},
            values={name: row[name] for name in task.values if row[name] is not None},
            used=() if row["used"] == PRIOR else tuple(row["used"].split("+")),
        )
        for row in table.to_pylist()
    ]


def write_predictions(table: pa.Table, path: Path) -> None:
    """Write as `.csv` or `.parquet`, whole or not at all.

    Raises:
        ConfigError: another suffix.

    """
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table.column_names)
                writer.writerows([_cell(value) for value in row.values()] for row in table.to_pylist())
        else:
            pq.write_table(table, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    # As many digits as tell any two float32 apart.
    return f"{value:.9g}" if isinstance(value, float) else value


def check_suffix(path: Path) -> None:
    """Refuse a name that does not say which kind of file it is.

    Raises:
        ConfigError: neither `.csv` nor `.parquet`.

    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out: {path}: predictions are written as .csv or .parquet; name the file so")
