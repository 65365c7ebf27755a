"""A finished run as it lies on disk: read, checked, and split into arrays.

Shapes: N prediction rows (a row per clip, fold and seed), C classes, S attention streams.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.config import load_yaml
from mer_ray.core.errors import RunError
from mer_ray.core.media_types import MODALITIES

RUN_FACTS = (
    "name",
    "seeds",
    "protocol",
    "corpus",
    "classes",
    "values",
    "streams",
    "normalisation",
    "model",
    "num_clips",
    "versions",
    "hardware",
)
ATTENTION_PREFIX, MODEL_PREFIX = "attention_", "model_"
# So many names fit into a line.
MAX_NAMED_RUNS = 8

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SplitPredictions:
    """The predictions of one split: N rows, a clip has one row per seed (and per fold that predicted it).

    `folds_N` (-1 = none), `probabilities_NC`, `labels_N` (index into the classes, -1 = unknown), `predicted_N`, `values_N[name]` and
    `value_labels_N[name]` (NaN = unknown), `attention_NS` over `attention_names` (NaN where the run stored none). `model_facts_N[name]`
    are the model's own numbers about clips, such as a gate; NaN where a clip has none.
    """

    clip_ids_N: Array
    folds_N: Array
    seeds_N: Array
    speakers_N: Array
    probabilities_NC: FloatArray
    labels_N: Array
    predicted_N: Array
    values_N: dict[str, FloatArray]
    value_labels_N: dict[str, FloatArray]
    attention_NS: FloatArray
    attention_names: tuple[str, ...]
    model_facts_N: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.clip_ids_N)

    def select(self, rows_N: Array) -> "SplitPredictions":
        """The rows that a mask or an index keeps."""
        return SplitPredictions(
            self.clip_ids_N[rows_N],
            self.folds_N[rows_N],
            self.seeds_N[rows_N],
            self.speakers_N[rows_N],
            self.probabilities_NC[rows_N],
            self.labels_N[rows_N],
            self.predicted_N[rows_N],
            {name: values_N[rows_N] for name, values_N in self.values_N.items()},
            {name: values_N[rows_N] for name, values_N in self.value_labels_N.items()},
            self.attention_NS[rows_N],
            self.attention_names,
            {name: facts_N[rows_N] for name, facts_N in self.model_facts_N.items()},
        )


@dataclass(frozen=True)
class Run:
    """One finished run: `facts` is run.json, `scores` the splits of scores.json, `history` the rows of metrics.jsonl.

    `calibration` is that of scores.json, None where nothing was fitted; `knows_calibration` is False for runs of older versions.
    """

    folder: Path
    facts: dict[str, Any]
    scores: dict[str, dict[str, Any]]
    config: dict[str, Any]
    config_text: str
    history: list[dict[str, Any]]
    calibration: dict[str, Any] | None
    knows_calibration: bool

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.facts["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the confusion matrix."""
        return tuple(self.facts["classes"])

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the run reads, in the order audio, vision, text."""
        used = {stream["modality"] for stream in self.facts["streams"]}
        return tuple(modality for modality in MODALITIES if modality in used)

    @property
    def is_transductive(self) -> bool:
        """Whether features were normalised with statistics of the test speakers' own clips."""
        return "transductive" in self.facts["normalisation"] or "speaker" in self.facts["normalisation"]

    def predicted_splits(self) -> tuple[str, ...]:
        """All splits that the run predicted, those without any label too, by name."""
        return tuple(sorted(path.stem for path in (self.folder / "predictions").glob("*.parquet")))

    def predictions(self, split: str) -> SplitPredictions:
        """Read one split's predictions.

        Raises:
            RunError: the Parquet file cannot be read or lacks columns.

        """
        return _read_predictions(self.folder / "predictions" / f"{split}.parquet", self.classes, tuple(self.facts["values"]))


def read_run(folder: Path) -> Run:
    """Read a run folder, all but its predictions and checkpoints.

    Raises:
        RunError: not a run folder, an unfinished run, or a damaged file; one line that names the file.

    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; give the folder that `mer-ray train` wrote")
    for name in ("run.json", "config.yaml"):
        if not (folder / name).is_file():
            raise RunError(f"{folder}: not a run folder: it has no {name}; {_nearest_run(folder)}")
    for name in ("metrics.jsonl", "scores.json"):
        if not (folder / name).is_file():
            raise RunError(f"{folder}: this run is unfinished: it has no {name} yet; let `mer-ray train` finish it, or leave it out")
    facts = _read_object(folder / "run.json", RUN_FACTS)
    written = _read_object(folder / "scores.json", ("splits",))
    scores = written["splits"]
    if not scores:
        raise RunError(f"{folder / 'scores.json'}: scores no split; the corpus needs labelled dev or test clips")
    for split in scores:
        if not (folder / "predictions" / f"{split}.parquet").is_file():
            raise RunError(f"{folder}: this run is unfinished: it has no predictions/{split}.parquet; let `mer-ray train` finish it")
    config_path = folder / "config.yaml"
    return Run(
        folder,
        facts,
        scores,
        load_yaml(config_path),
        config_path.read_text(encoding="utf-8"),
        _read_history(folder / "metrics.jsonl"),
        written.get("calibration"),
        "calibration" in written,
    )


def _nearest_run(folder: Path) -> str:
    """What to give in place of a folder that is no run: the run that it is a part of, or those that lie in it."""
    if (folder.parent / "run.json").is_file():
        what = "the bundle" if folder.name == "bundle" else "a part"
        return f"it is {what} of a run: give {folder.parent}"
    inside = sorted(path.parent.name for path in folder.glob("*/run.json"))
    if not inside:
        return "give the folder that `mer-ray train` wrote"
    shown = ", ".join(inside[:MAX_NAMED_RUNS]) + (f" and {len(inside) - MAX_NAMED_RUNS} more" if len(inside) > MAX_NAMED_RUNS else "")
    return f"it holds the run {shown}: give {folder / shown}" if len(inside) == 1 else f"it holds the runs {shown}: give these"


def _read_object(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON ({error}); train the run again") from error
    missing = [key for key in needed if key not in value] if isinstance(value, dict) else list(needed)
    if missing:
        raise RunError(f"{path}: lacks {', '.join(missing)}; was it written by another version of mer_ray? Train the run again")
    return dict(value)


def _read_history(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise RunError(f"{path}: a line is not valid JSON ({error}); train the run again") from error
    return rows


def _read_predictions(path: Path, classes: tuple[str, ...], values: tuple[str, ...]) -> SplitPredictions:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path}: not a Parquet file that can be read ({error}); train the run again") from error
    needed = ["clip_id", "fold", "seed", "speaker_id", "emotion", "label_emotion", *(f"prob_{name}" for name in classes)]
    needed += [column for name in values for column in (name, f"label_{name}")]
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise RunError(f"{path}: lacks columns {', '.join(missing)}; was it written by another version of mer_ray? Train the run again")
    attention_names = _after(ATTENTION_PREFIX, table)
    index = {name: position for position, name in enumerate(classes)}
    return SplitPredictions(
        clip_ids_N=_texts(table, "clip_id"),
        folds_N=np.asarray([-1 if fold is None else fold for fold in table["fold"].to_pylist()], dtype=np.int64),
        seeds_N=np.asarray(table["seed"].to_pylist(), dtype=np.int64),
        speakers_N=_texts(table, "speaker_id"),
        probabilities_NC=_columns(table, [f"prob_{name}" for name in classes]),
        labels_N=_positions(table, "label_emotion", index, path),
        predicted_N=_positions(table, "emotion", index, path),
        values_N={name: _columns(table, [name])[:, 0] for name in values},
        value_labels_N={name: _columns(table, [f"label_{name}"])[:, 0] for name in values},
        attention_NS=_columns(table, [f"{ATTENTION_PREFIX}{name}" for name in attention_names]),
        attention_names=attention_names,
        model_facts_N={name: _columns(table, [f"{MODEL_PREFIX}{name}"])[:, 0] for name in _after(MODEL_PREFIX, table)},
    )


def _after(prefix: str, table: pa.Table) -> tuple[str, ...]:
    """What follows the prefix in the names of the columns that have it."""
    return tuple(name.removeprefix(prefix) for name in table.column_names if name.startswith(prefix))


def _texts(table: pa.Table, column: str) -> Array:
    return np.asarray(table[column].to_pylist(), dtype=object)


def _columns(table: pa.Table, columns: Sequence[str]) -> FloatArray:
    if not columns:
        return np.zeros((table.num_rows, 0))
    filled = [[float("nan") if value is None else value for value in table[name].to_pylist()] for name in columns]
    return np.asarray(filled, dtype=np.float64).T


def _positions(table: pa.Table, column: str, index: Mapping[str, int], path: Path) -> Array:
    names = table[column].to_pylist()
    unknown = sorted({name for name in names if name is not None} - index.keys())
    if unknown:
        raise RunError(f"{path}: {column} holds {', '.join(unknown)}, which run.json does not list; allowed: {', '.join(index)}")
    return np.asarray([-1 if name is None else index[name] for name in names], dtype=np.int64)
