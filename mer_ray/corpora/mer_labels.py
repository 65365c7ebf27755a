"""The label files of the MER challenges: `name,discrete,valence`, as CSV; further columns are left alone."""

import posixpath
from dataclasses import dataclass

import pyarrow as pa

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.cells import CellError, is_unknown, read_cell
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.mertools_labels import UNKNOWN_VALENCE
from mer_ray.corpora.table_source import RawTable, read_table


@dataclass(frozen=True)
class MerLabel:
    """One row of a label file; `line` is where it ends in the file, `name` as it is written there, None = unknown."""

    line: int
    name: str
    emotion: str | None = None
    valence: float | None = None


def read_mer_labels(path: str) -> tuple[list[MerLabel], list[Fault]]:
    """Rows of a label file in its order, and faults of its lines; a file without the column `valence` knows none.

    Raises:
        ManifestError: no such file, no CSV, or without the columns `name` and `discrete`.

    """
    raw = _read(path, ("name", "discrete"))
    valences = raw.columns.get("valence", [None] * len(raw.row_numbers))
    labels, faults = [], list(raw.faults)
    for line, name, emotion, cell in zip(raw.row_numbers, raw.columns["name"], raw.columns["discrete"], valences, strict=True):
        if is_unknown(name):
            faults.append(_no_name(line))
            continue
        try:
            valence = read_cell(cell, pa.float64())
        except CellError as error:
            allowed = f"{error}; {UNKNOWN_VALENCE:g} is unknown too"
            faults.append(Fault(line, name, "valence", f"{cell!r} is no number", allowed))
            continue
        labels.append(MerLabel(line, name, read_cell(emotion, pa.string()), None if valence == UNKNOWN_VALENCE else valence))
    return labels, faults


def read_mer_names(path: str) -> tuple[list[MerLabel], list[Fault]]:
    """Rows of a list of names, such as the candidates of a test set: what other columns hold there is no label.

    Raises:
        ManifestError: no such file, no CSV, or without the column `name`.

    """
    raw = _read(path, ("name",))
    rows = list(zip(raw.row_numbers, raw.columns["name"], strict=True))
    faults = [*raw.faults, *[_no_name(line) for line, name in rows if is_unknown(name)]]
    return [MerLabel(line, name) for line, name in rows if not is_unknown(name)], faults


def _read(path: str, needed: tuple[str, ...]) -> RawTable:
    raw = read_table(path, None)
    missing = [name for name in needed if name not in raw.columns]
    if missing:
        file = posixpath.basename(path)
        raise ManifestError(f"{file}: has the columns {', '.join(raw.columns)}; needed: {', '.join(needed)}; take the file as released")
    return raw


def _no_name(line: int) -> Fault:
    return Fault(line, None, "clip_id", "the name is empty", "the name of a clip, as its file is called")
