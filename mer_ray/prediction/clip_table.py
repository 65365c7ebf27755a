"""A table of clips with emotions and values, as labels and predictions come: CSV or Parquet, ours or a challenge's.

Shapes: N rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mer_ray.core.batch import VALUE_NAMES
from mer_ray.core.counting import say_count
from mer_ray.core.errors import PredictionError
from mer_ray.core.media_types import BoolArray
from mer_ray.corpora.cells import CellError, is_unknown, read_cell
from mer_ray.corpora.mertools_labels import UNKNOWN_VALENCE
from mer_ray.corpora.table_source import RawTable, read_table
from mer_ray.prediction.prediction_table import TRAINED_ON

ID_COLUMNS = ("clip_id", "name")
EMOTION_COLUMNS = ("emotion", "discrete")
PROBABILITY = "prob_"
YES_NO = {"true": True, "1": True, "false": False, "0": False}

ValueArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClipTable:
    """N rows; `emotions` and the others are None where the file has no such column, a cell is None (values: NaN) where unknown.

    `classes` are those of its `prob_` columns, or of the manifest that it is. `trained_on` is where its column `note` says so.
    """

    path: Path
    clip_ids: list[str]
    emotions: list[str | None] | None
    values: dict[str, ValueArray]
    speaker_ids: list[str | None] | None = None
    splits: list[str | None] | None = None
    abstained: BoolArray | None = None
    classes: tuple[str, ...] | None = None
    trained_on: BoolArray | None = None


def read_clip_table(path: Path, is_challenge: bool) -> ClipTable:
    """Read a table; a valence of -10 is unknown where a challenge writes it: in its own files, or under its protocol.

    Raises:
        ManifestError: no table.
        PredictionError: no such file, or it is empty, lacks columns, or has cells that cannot be read; a line per kind of fault.

    """
    if not path.exists():
        raise PredictionError(f"{path}: no such file; correct its name, or its folder")
    if path.is_file() and path.stat().st_size == 0:
        raise PredictionError(f"{path}: the file is empty; it needs a header and a row per clip")
    raw = read_table(str(path), None)
    names = list(raw.columns)
    id_column = _one_of(path, names, ID_COLUMNS)
    emotion_column = _one_of(path, names, EMOTION_COLUMNS)
    if id_column is None:
        raise PredictionError(f"{path}: has no column {' or '.join(ID_COLUMNS)}; its columns: {', '.join(names)}")
    faults = [f"{path}: {say_count(len(raw.faults), 'row')} with too few or too many cells, e.g. {raw.faults[0]}"] if raw.faults else []
    if not raw.row_numbers and not faults:
        raise PredictionError(f"{path}: has a header but no row; it needs a row per clip")
    reader = _Reader(path, raw, faults)
    clip_ids = reader.texts(id_column)
    reader.add_fault(id_column, [place for place, clip_id in enumerate(clip_ids) if clip_id is None], "without a name")
    values = {name: reader.numbers(name) for name in VALUE_NAMES if name in names}
    if "valence" in values and (is_challenge or emotion_column == "discrete"):
        values["valence"][values["valence"] == UNKNOWN_VALENCE] = np.nan
    table = ClipTable(
        path,
        [clip_id or "" for clip_id in clip_ids],
        None if emotion_column is None else reader.texts(emotion_column),
        values,
        reader.texts("speaker_id") if "speaker_id" in names else None,
        reader.texts("split") if "split" in names else None,
        reader.flags("abstained") if "abstained" in names else None,
        tuple(name.removeprefix(PROBABILITY) for name in names if name.startswith(PROBABILITY)) or None,
        reader.mentions("note", TRAINED_ON) if "note" in names else None,
    )
    if faults:
        raise PredictionError("\n".join(faults))
    return table


def _one_of(path: Path, names: Sequence[str], choices: Sequence[str]) -> str | None:
    found = [name for name in choices if name in names]
    if len(found) > 1:
        raise PredictionError(f"{path}: has both columns {' and '.join(found)}; keep the one that is meant")
    return found[0] if found else None


@dataclass
class _Reader:
    """Converts columns, and adds what cannot be read to `faults`."""

    path: Path
    raw: RawTable
    faults: list[str]

    def texts(self, column: str) -> list[str | None]:
        return self._convert(column, pa.string())

    def numbers(self, column: str) -> ValueArray:
        cells = self._convert(column, pa.float64())
        return np.asarray([np.nan if cell is None else cell for cell in cells], dtype=np.float64)

    def flags(self, column: str) -> BoolArray:
        """True and false, also as CSV writes them; an empty cell is no."""
        cells = [False if is_unknown(cell) else YES_NO.get(str(cell).strip().lower()) for cell in self.raw.columns[column]]
        self.add_fault(column, [place for place, cell in enumerate(cells) if cell is None], "neither true nor false")
        return np.asarray([bool(cell) for cell in cells], dtype=bool)

    def mentions(self, column: str, text: str) -> BoolArray:
        """Where cells hold a text; files of others may hold anything there."""
        return np.asarray([isinstance(cell, str) and text in cell for cell in self.raw.columns[column]], dtype=bool)

    def _convert(self, column: str, kind: pa.DataType) -> list[Any]:
        converted, wrong, allowed = [], [], ""
        for place, cell in enumerate(self.raw.columns[column]):
            try:
                converted.append(read_cell(cell, kind))
            except CellError as error:
                converted.append(None)
                wrong.append(place)
                allowed = str(error)
        self.add_fault(column, wrong, f"cannot be read; allowed: {allowed}")
        return converted

    def add_fault(self, column: str, places: Sequence[int], what: str) -> None:
        """One line for all rows at these places."""
        if places:
            cell, row = self.raw.columns[column][places[0]], self.raw.row_numbers[places[0]]
            self.faults.append(f"{self.path}: {column}: {say_count(len(places), 'cell')}, e.g. {cell!r} in row {row}, {what}")
