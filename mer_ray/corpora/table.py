"""The `table` corpus: a CSV or Parquet file with a row per clip."""

import difflib
import math
import posixpath
from collections import defaultdict
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, PATH_COLUMNS, ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan, ValueRanges, check_corpus_name, manifest_table
from mer_ray.corpora.cells import CellError, is_unknown, read_cell
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.paths import absolute_root, name_of, parent_of, relative_to_root
from mer_ray.corpora.table_source import RawTable, read_table

MEDIA_COLUMNS = ("path", "audio_path", "video_path")
# Votes that were rounded to two or three places still sum to one within this.
MAX_SUM_ERROR = 0.02


class TableCorpusConfig(CorpusConfig):
    """A CSV, TSV or Parquet file, local or `s3://`, with at least `path`, `audio_path`, `video_path` or `text`.

    `root`: the folder or prefix of relative paths, default the table's own; no clip may lie outside it (`root: /` allows all).
    `corpus_name`: default the file's stem. `classes`: the emotions in order; without it they are the table's own, sorted.
    With `classes`, columns of their names are a soft label. `value_ranges`: e.g. `{valence: [-5, 5]}`; without one any
    finite value is valid. `columns`: manifest column -> its name in the table. `ignore_columns`: names to leave out.
    `clip_id`, where the table has none, is the stem of the path.
    """

    name: Literal["table"] = "table"
    path: str = where_or_how_fast(min_length=1)
    root: str | None = where_or_how_fast(None, min_length=1)
    corpus_name: str | None = None
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    value_ranges: ValueRanges = {}
    columns: dict[str, str] = {}
    ignore_columns: tuple[str, ...] = ()
    delimiter: str | None = Field(None, min_length=1, max_length=1)

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(set(classes)) < len(classes):
            raise ValueError("a class is listed twice")
        return classes

    @field_validator("columns")
    @classmethod
    def _columns_are_known(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = [name for name in columns if name not in MANIFEST_SCHEMA.names]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no column of the manifest{_nearest(unknown[0])}")
        if len(set(columns.values())) < len(columns):
            raise ValueError("a column of the table is given to two columns of the manifest")
        return columns

    def build(self) -> "TableCorpus":
        """The corpus; the table is read at the first use."""
        return TableCorpus(self)


class TableCorpus(Corpus):
    """Rows of a table as clips."""

    def __init__(self, config: TableCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.root or parent_of(config.path))

    def facts(self) -> ManifestFacts:
        """Classes from the config or the table, value ranges from the config."""
        default_name = posixpath.splitext(name_of(self.config.path))[0]
        return ManifestFacts(
            corpus=check_corpus_name(self.config.corpus_name or default_name),
            classes=self._classes,
            root=self.root,
            value_ranges=dict(self.config.value_ranges),
        )

    def scan(self) -> Scan:
        """Convert every cell; cells and columns that do not fit are faults."""
        raw, faults = self._raw, [*self._raw.faults, *self._column_faults()]
        numbers = raw.row_numbers
        cells = self._named_cells()
        values: dict[str, list[Any]] = {}
        for name in cells:
            values[name], more = self._read_column(name, cells)
            faults += more
        if "emotion_probs" not in values and self._class_columns:
            values["emotion_probs"], more = self._read_soft_labels(values)
            faults += more
        if "emotion_probs" in values and "emotion" not in values:
            values["emotion"] = [self._most_probable(soft_label) for soft_label in values["emotion_probs"]]
        for name in set(PATH_COLUMNS) & set(values):
            values[name] = [path and relative_to_root(path, self.root) for path in values[name]]
        if "clip_id" not in values:
            values["clip_id"], more = self._stems(values)
            faults += more
        return Scan(manifest_table(values, len(numbers)), numbers, faults)

    @cached_property
    def _raw(self) -> RawTable:
        raw = read_table(self.config.path, self.config.delimiter)
        if not raw.row_numbers and not raw.faults:
            raise ManifestError(f"{self.config.path}: the table has a header but no rows")
        return raw

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        if self.config.classes is not None:
            return self.config.classes
        cells = self._named_cells().get("emotion", [])
        return tuple(sorted({str(read_cell(cell, pa.string())) for cell in cells if not is_unknown(cell) and _is_text(cell)}))

    @cached_property
    def _class_columns(self) -> list[str]:
        taken = set(self._source_names().values())
        return [name for name in self.config.classes or () if name in self._raw.columns and name not in taken]

    def _source_names(self) -> dict[str, str]:
        """Manifest column -> the table's column, for those that the table has."""
        wanted = {name: self.config.columns.get(name, name) for name in MANIFEST_SCHEMA.names}
        renamed = set(self.config.columns.values())
        return {
            name: source
            for name, source in wanted.items()
            if source in self._raw.columns
            and source not in self.config.ignore_columns
            and (name in self.config.columns or source not in renamed)
        }

    def _named_cells(self) -> dict[str, list[Any]]:
        return {name: self._raw.columns[source] for name, source in self._source_names().items()}

    def _column_faults(self) -> list[Fault]:
        names, columns = self._source_names(), self._raw.columns
        has = f"the columns {', '.join(map(repr, columns))}"
        faults = [
            Fault(None, None, name, f"column {source!r} is missing", has)
            for name, source in self.config.columns.items()
            if source not in columns
        ]
        faults += [
            Fault(None, None, name, "is in ignore_columns but not in the table", has)
            for name in self.config.ignore_columns
            if name not in columns
        ]
        if not set(names) & {*MEDIA_COLUMNS, "text"}:
            allowed = f"at least one of {', '.join(MEDIA_COLUMNS)}, text; for another name write `columns: {{path: <name>}}`"
            faults.append(Fault(None, None, "path", "column is missing", allowed))
        known = {*names.values(), *self._class_columns, *self.config.ignore_columns}
        faults += [
            Fault(None, None, name, f"unknown column{_nearest(name)}", f"{', '.join(MANIFEST_SCHEMA.names)}; list others in `ignore_columns`")
            for name in columns
            if name not in known
        ]
        lacking = [name for name in self.config.classes or () if name not in self._class_columns]
        if self._class_columns and lacking:
            faults.append(Fault(None, None, lacking[0], "soft label without this class", f"a column for each of {', '.join(self._classes)}"))
        return faults + self._class_faults()

    def _class_faults(self) -> list[Fault]:
        """Inferred classes that differ only in case or blanks are one class, written in two ways."""
        by_folded = defaultdict(list)
        for name in self._classes if self.config.classes is None else ():
            by_folded[" ".join(name.split()).casefold()].append(name)
        return [
            Fault(None, None, "emotion", f"{' and '.join(map(repr, names))} differ only in case or blanks", "one spelling, or list `classes`")
            for names in by_folded.values()
            if len(names) > 1
        ]

    def _read_column(self, name: str, cells: dict[str, list[Any]]) -> tuple[list[Any], list[Fault]]:
        if name == "emotion_probs":
            return self._read_probability_lists(cells)
        kind = MANIFEST_SCHEMA.field(name).type
        values: list[Any] = []
        faults: list[Fault] = []
        for index, cell in enumerate(cells[name]):
            try:
                values.append(read_cell(cell, kind))
            except CellError as error:
                values.append(None)
                faults.append(self._fault(index, cells, name, f"{cell!r} does not fit", str(error)))
        return values, faults

    def _read_probability_lists(self, cells: dict[str, list[Any]]) -> tuple[list[Any], list[Fault]]:
        if self.config.classes is None:
            return [None] * len(self._raw.row_numbers), [
                Fault(None, None, "emotion_probs", "probabilities without a class list", "list `classes` in the order of the probabilities")
            ]
        return self._check_soft_labels([cell if isinstance(cell, list) else cell for cell in cells["emotion_probs"]], cells)

    def _read_soft_labels(self, values: dict[str, list[Any]]) -> tuple[list[Any], list[Fault]]:
        columns = [self._raw.columns[name] for name in self._class_columns]
        return self._check_soft_labels([list(row) for row in zip(*columns, strict=True)], values)

    def _check_soft_labels(self, rows: list[Any], ids: dict[str, list[Any]]) -> tuple[list[Any], list[Fault]]:
        """Probabilities in the order of the classes, scaled to sum to exactly one; None where all are unknown."""
        labels: list[Any] = []
        faults: list[Fault] = []
        allowed = f"{len(self._classes)} numbers from 0 to 1 that sum to 1, or all empty for unknown"
        for index, row in enumerate(rows):
            label = None
            if not is_unknown(row) and not (isinstance(row, list) and all(map(is_unknown, row))):
                label = _probabilities(row, len(self._classes))
                if label is None:
                    faults.append(self._fault(index, ids, "emotion_probs", f"{row!r} is no soft label", allowed))
            labels.append(label)
        return labels, faults

    def _most_probable(self, soft_label: list[float] | None) -> str | None:
        """The class of the one highest probability; a tie names no class."""
        if soft_label is None or soft_label.count(max(soft_label)) > 1:
            return None
        return self._classes[soft_label.index(max(soft_label))]

    def _stems(self, values: dict[str, list[Any]]) -> tuple[list[str | None], list[Fault]]:
        num_rows = len(self._raw.row_numbers)
        given = [values[name] for name in MEDIA_COLUMNS if name in values]
        paths = [next((column[index] for column in given if column[index] is not None), None) for index in range(num_rows)]
        stems = [posixpath.splitext(posixpath.basename(path))[0] if path else None for path in paths]
        rows_of = defaultdict(list)
        for number, stem in zip(self._raw.row_numbers, stems, strict=True):
            rows_of[stem].append(number)
        example = next((stem for stem in rows_of if stem is None or len(rows_of[stem]) > 1), "")
        if example == "":
            return stems, []
        what = (
            f"row {rows_of[None][0]} has no path to take it from"
            if example is None
            else f"file names repeat: {example!r} in rows {', '.join(map(str, rows_of[example][:3]))}"
        )
        allowed = "a column clip_id with one id per row (without it ids are file names without suffix, which must then differ)"
        return stems, [Fault(None, None, "clip_id", f"column is missing and {what}", allowed)]

    def _fault(self, index: int, ids: dict[str, list[Any]], column: str, what: str, allowed: str) -> Fault:
        clip_id = ids["clip_id"][index] if "clip_id" in ids else None
        return Fault(self._raw.row_numbers[index], None if clip_id is None else str(clip_id), column, what, allowed)


def _is_text(cell: Any) -> bool:
    try:
        read_cell(cell, pa.string())
    except CellError:
        return False
    return True


def _probabilities(row: Any, num_classes: int) -> list[float] | None:
    try:
        numbers = [read_cell(cell, pa.float64()) for cell in row]
    except (CellError, TypeError):
        return None
    if len(numbers) != num_classes or any(number is None or not 0.0 <= number <= 1.0 for number in numbers):
        return None
    total = math.fsum(numbers)
    return [number / total for number in numbers] if abs(total - 1.0) <= MAX_SUM_ERROR else None


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), MANIFEST_SCHEMA.names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
