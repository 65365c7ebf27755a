"""What predictions are scored against.

Shapes: N labelled clips.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mer_ray.core.batch import VALUE_NAMES
from mer_ray.core.config import nearest
from mer_ray.core.counting import say_count
from mer_ray.core.errors import PredictionError
from mer_ray.core.manifest import METADATA_KEY, read_manifest
from mer_ray.prediction.clip_table import ClipTable, ValueArray, read_clip_table
from mer_ray.prediction.protocols import Protocol

MANIFEST_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class Labels:
    """The clips with a known label: `label_N` index into `classes` (-1 = unknown), `values[name]` (N,) NaN = unknown.

    `speaker_N` numbers the speakers; None where the file does not name them all, or only one. `num_unlabelled` clips of the file
    have no label that the protocol scores.
    """

    path: Path
    clip_ids: list[str]
    classes: tuple[str, ...]
    label_N: Tensor
    values: dict[str, ValueArray]
    speaker_N: Tensor | None
    num_unlabelled: int

    @property
    def num_speakers(self) -> int | None:
        """How many speakers there are; None where they are unknown."""
        return None if self.speaker_N is None else int(self.speaker_N.max()) + 1


def read_label_table(path: Path, split: str | None, is_challenge: bool) -> ClipTable:
    """Labels as they lie in a table or a manifest, of one split or of all.

    Raises:
        ManifestError, PredictionError: as `read_clip_table`, or the file has no such split.

    """
    table = _read_manifest_labels(path) if _is_manifest(path) else read_clip_table(path, is_challenge)
    if split is None:
        return table
    known = sorted({name for name in table.splits or [] if name is not None})
    if split not in known:
        raise PredictionError(f"{path}: has no split {split!r}{nearest(split, known) or '; it has none'}")
    assert table.splits is not None
    return _select(table, [place for place, name in enumerate(table.splits) if name == split])


def label_classes(protocol: Protocol, chosen: tuple[str, ...] | None, labels: ClipTable, predictions: list[ClipTable]) -> tuple[str, ...]:
    """The classes in order: the protocol's, the config's, the manifest's, those of the `prob_` columns, else those labelled.

    Raises:
        PredictionError: the files of predictions have different `prob_` columns.

    """
    if not protocol.has_emotions:
        return ()
    given = protocol.classes or chosen or labels.classes
    if given:
        return given
    predicted = {table.classes: table.path for table in predictions if table.classes}
    if len(predicted) > 1:
        lists = "; ".join(f"{path}: {', '.join(classes)}" for classes, path in predicted.items())
        raise PredictionError(f"the predictions have different prob_ columns; say with classes which emotions there are. {lists}")
    return next(iter(predicted), tuple(sorted({emotion for emotion in labels.emotions or [] if emotion is not None})))


def check_labels(table: ClipTable, protocol: Protocol, classes: tuple[str, ...]) -> Labels:
    """The labelled clips of a table.

    Raises:
        PredictionError: doubled names, unknown classes, values that are no numbers, or nothing to score; a line each.

    """
    faults = []
    if protocol.has_emotions and table.emotions is None:
        faults.append(f"{table.path}: has no column emotion or discrete, which {protocol.name} scores")
    values = {name: value_N for name, value_N in table.values.items() if not np.isnan(value_N).all()}
    absent = [name for name in protocol.needs if name not in values]
    if absent or (not protocol.has_emotions and not values):
        faults.append(f"{table.path}: knows no {', '.join(absent) or ' or '.join(VALUE_NAMES)}, which {protocol.name} scores")
    faults += [*doubled_names(table), *unknown_classes(table, classes), *_infinite_values(table)]
    if faults:
        raise PredictionError("\n".join(faults))
    index = {name: number for number, name in enumerate(classes)}
    label_N = np.asarray([index.get(name or "", -1) for name in table.emotions or [None] * len(table.clip_ids)])
    is_known_N = label_N >= 0
    for value_N in values.values():
        is_known_N |= ~np.isnan(value_N)
    rows = np.flatnonzero(is_known_N)
    if not len(rows) or (protocol.has_emotions and not (label_N >= 0).any()):
        raise PredictionError(f"{table.path}: all labels are unknown; there is nothing to score")
    return Labels(
        table.path,
        [table.clip_ids[row] for row in rows],
        classes,
        torch.from_numpy(label_N[rows]),
        {name: value_N[rows] for name, value_N in values.items()},
        _number_speakers([table.speaker_ids[row] for row in rows] if table.speaker_ids is not None else []),
        len(table.clip_ids) - len(rows),
    )


def doubled_names(table: ClipTable) -> list[str]:
    """A fault where names stand in a table more than once."""
    doubled = {name: count for name, count in Counter(table.clip_ids).items() if count > 1}
    if not doubled:
        return []
    name, count = next(iter(doubled.items()))
    what = f"{say_count(len(doubled), 'name')} more than once, e.g. {name!r} {count} times"
    return [f"{table.path}: {what}; each may stand there once (no windows, one seed)"]


def unknown_classes(table: ClipTable, classes: tuple[str, ...]) -> list[str]:
    """A fault per emotion that is none of the classes."""
    if not classes:
        return []
    counts = Counter(emotion for emotion in table.emotions or [] if emotion is not None and emotion not in classes)
    example = dict(zip(reversed(table.emotions or []), reversed(table.clip_ids), strict=False))
    return [
        f"{table.path}: {say_count(count, 'clip')} of the unknown emotion {emotion!r}, e.g. {example[emotion]!r}{nearest(emotion, classes)}"
        for emotion, count in counts.items()
    ]


def _infinite_values(table: ClipTable) -> list[str]:
    faults = []
    for name, value_N in table.values.items():
        infinite = np.flatnonzero(np.isinf(value_N))
        if len(infinite):
            clips = say_count(len(infinite), "clip")
            faults.append(f"{table.path}: {clips} of an infinite {name}, e.g. {table.clip_ids[infinite[0]]!r}")
    return faults


def _number_speakers(speaker_ids: list[str | None]) -> Tensor | None:
    if not speaker_ids or None in speaker_ids or len(set(speaker_ids)) < 2:
        return None
    return torch.from_numpy(np.unique(np.asarray(speaker_ids, dtype=str), return_inverse=True)[1])


def _is_manifest(path: Path) -> bool:
    if path.suffix.lower() not in MANIFEST_SUFFIXES or not path.is_file():
        return False
    try:
        return METADATA_KEY in (pq.read_schema(path).metadata or {})
    except pa.ArrowInvalid:
        # Not Parquet: reading it as a table says so.
        return False


def _read_manifest_labels(path: Path) -> ClipTable:
    manifest = read_manifest(path)
    columns = manifest.table.select(["clip_id", "emotion", "speaker_id", "split", *VALUE_NAMES]).to_pydict()
    return ClipTable(
        path,
        columns["clip_id"],
        columns["emotion"],
        {name: np.asarray([np.nan if cell is None else cell for cell in columns[name]], dtype=np.float64) for name in VALUE_NAMES},
        columns["speaker_id"],
        columns["split"],
        classes=manifest.facts.classes,
    )


def _select(table: ClipTable, rows: list[int]) -> ClipTable:
    def pick(column: list[str | None] | None) -> list[str | None] | None:
        return None if column is None else [column[row] for row in rows]

    return ClipTable(
        table.path,
        [table.clip_ids[row] for row in rows],
        pick(table.emotions),
        {name: value_N[rows] for name, value_N in table.values.items()},
        pick(table.speaker_ids),
        pick(table.splits),
        None if table.abstained is None else table.abstained[rows],
        table.classes,
        None if table.trained_on is None else table.trained_on[rows],
    )
