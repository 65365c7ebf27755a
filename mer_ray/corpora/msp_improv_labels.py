"""Labels of MSP-IMPROV: lines of `Evaluation.txt`, and the table of VAVL with its splits."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.cells import CellError, read_cell
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.table_source import read_table

# Sentence and its target emotion, speaker, scenario, turn: S01A-F01-P-FM01. Sound is named MSP-..., video and labels UTD-...
KEY = r"S\d{2}[AHNS]-[FM]\d{2}-[PRST]-[FM]{2}\d{2,3}"
NAME = re.compile(rf"(?:MSP|UTD)-IMPROV-({KEY})")
NUMBER = r"(\d+(?:\.\d+)?|NaN)"
LABEL_LINE = re.compile(
    rf"UTD-IMPROV-({KEY})\.avi\s*;\s*([A-Z])\s*;\s*A:{NUMBER}\s*;\s*V:{NUMBER}\s*;\s*D:{NUMBER}\s*;\s*N:{NUMBER}\s*;?\s*"
)
# Lines of single raters begin otherwise.
LABEL_START = "UTD-IMPROV-"
LETTERS = {"A": "angry", "S": "sad", "H": "happy", "N": "neutral"}
OTHER, NO_AGREEMENT = "O", "X"
_ALLOWED_LINE = "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.0; V:3.0; D:3.0 ; N:4.0;"
# Calm to excited is 5 to 1 in Evaluation.txt.
INVERSE_SUM = 6.0
VAVL_VALUES = {"arousal": "EmoAct", "valence": "EmoVal", "dominance": "EmoDom"}
VAVL_SPLITS = {"train": "train", "development": "dev", "dev": "dev", "validation": "dev", "test": "test"}


@dataclass(frozen=True)
class Label:
    """One turn: `row` is its place from 1, `letter` the class (None = the source names none), values from 1 to 5, high = active."""

    row: int
    key: str
    letter: str | None
    arousal: float | None
    valence: float | None
    dominance: float | None
    split: str | None = None


def read_evaluation(path: str, lines: list[str]) -> tuple[list[Label], list[Fault]]:
    """The turns of `Evaluation.txt`; lines of single raters are passed over, a label line that cannot be read is a fault.

    Activation is inverse-coded there, so arousal = 6 - A; NaN is unknown.
    """
    labels: list[Label] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        if not line.startswith(LABEL_START):
            continue
        row = len(labels) + len(faults) + 1
        match = LABEL_LINE.fullmatch(line)
        if match is None:
            faults.append(Fault(row, None, "emotion", f"{path}: line {number} is no label: {line[:60]!r}", f"lines like {_ALLOWED_LINE}"))
            continue
        key, letter, *numbers = match.groups()
        if letter not in (*LETTERS, OTHER, NO_AGREEMENT):
            allowed = f"{', '.join(LETTERS)}, {OTHER} for other, {NO_AGREEMENT} for no agreement"
            faults.append(Fault(row, key, "emotion", f"{path}: line {number}: unknown letter {letter!r}", allowed))
            continue
        activation, valence, dominance = (None if cell == "NaN" else float(cell) for cell in numbers[:3])
        arousal = None if activation is None else INVERSE_SUM - activation
        labels.append(Label(row, key, letter, arousal, valence, dominance))
    return labels, faults


def read_vavl_table(path: str, letters: Mapping[str, str | None]) -> tuple[list[Label], list[Fault]]:
    """The turns of VAVL's table with its splits; `EmoAct` is already high = active. `letters`: key -> class of `Evaluation.txt`.

    Raises:
        ManifestError: the table cannot be read or lacks a column.

    """
    raw = read_table(path, None)
    needed = ["FileName", *VAVL_VALUES.values(), "Split_Set"]
    lacking = [name for name in needed if name not in raw.columns]
    if lacking:
        raise ManifestError(f"{path}: lacks the column {lacking[0]}; needed: {', '.join(needed)}; it has {', '.join(raw.columns)}")
    labels: list[Label] = []
    faults = [Fault(row, None, None, f"{path}: line {fault.row} {fault.what}", fault.allowed) for row, fault in enumerate(raw.faults, 1)]
    for index, line in enumerate(raw.row_numbers):
        row = len(raw.faults) + index + 1
        label = _read_vavl_row(row, {name: raw.columns[name][index] for name in needed}, letters)
        if isinstance(label, Fault):
            faults.append(Fault(row, label.clip_id, label.column, f"{path}: line {line}: {label.what}", label.allowed))
        else:
            labels.append(label)
    return labels, faults


def _read_vavl_row(row: int, cells: Mapping[str, Any], letters: Mapping[str, str | None]) -> Label | Fault:
    match = NAME.fullmatch(posixpath.splitext(str(cells["FileName"]).strip())[0])
    if match is None:
        return Fault(row, None, "clip_id", f"{cells['FileName']!r} names no turn", "MSP-IMPROV-S01A-F01-P-FM01, with or without suffix")
    split = VAVL_SPLITS.get(str(cells["Split_Set"]).strip().lower())
    if split is None:
        return Fault(row, match[1], "split", f"unknown Split_Set {cells['Split_Set']!r}", "Train, Development, Test")
    values: dict[str, float | None] = {}
    for name, column in VAVL_VALUES.items():
        try:
            values[name] = read_cell(cells[column], pa.float32())
        except CellError as error:
            return Fault(row, match[1], name, f"{column} {cells[column]!r} does not fit", str(error))
    return Label(row, match[1], letters.get(match[1]), values["arousal"], values["valence"], values["dominance"], split)
