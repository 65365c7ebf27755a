"""The `table` corpus: a CSV or Parquet file with a row per clip."""

import posixpath
from collections import defaultdict
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, MEDIA_COLUMNS, PATH_COLUMNS, ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, CorpusName, Scan, ValueRanges, choose_corpus_name, manifest_table
from mer_ray.corpora.cells import CellError, read_cell
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.paths import absolute_root, name_of, parent_of, relative_to_root
from mer_ray.corpora.soft_labels import most_probable, read_soft_label
from mer_ray.corpora.table_columns import ColumnMatch, match_columns, nearest_column
from mer_ray.corpora.table_source import RawTable, read_table


class TableCorpusConfig(CorpusConfig):
    """A CSV, TSV or Parquet file, local or `s3://`, with at least `path`, `audio_path`, `video_path` or `text`.

    `root`: the folder or prefix of relative paths, default the table's own; no clip may lie outside it (`root: /` allows all).
    `corpus_name`: default the file's stem. `classes`: the emotions in order; without it they are the table's own, sorted.
    With `classes`, columns of their names are a soft label, and where there is no column `emotion` the one most probable
    class is. `value_ranges`: e.g. `{valence: [-5, 5]}`; without one any finite value is valid. `columns`: manifest column ->
    its name in the table. `ignore_columns`: names to leave out. Where the table has no `clip_id`, it is the path's stem.
    """

    name: Literal["table"] = "table"
    path: Place = where_or_how_fast(min_length=1)
    root: Place | None = where_or_how_fast(None, min_length=1)
    corpus_name: CorpusName | None = None
    classes: tuple[str, ...] | None = Field(None, min_length=1)
    value_ranges: ValueRanges = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)
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
            raise ValueError(f"{unknown[0]!r} is no column of the manifest{nearest_column(unknown[0])}")
        if len(set(columns.values())) < len(columns):
            raise ValueError("one column of the table is given to two columns of the manifest")
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
        classes = self.config.classes
        if classes is None:
            classes = tuple(sorted({str(name) for name in self._scan.table["emotion"].to_pylist() if name is not None}))
        return ManifestFacts(
            corpus=choose_corpus_name(self.config.corpus_name, posixpath.splitext(name_of(self.config.path))[0]),
            classes=classes,
            root=self.root,
            value_ranges={str(name): limits for name, limits in self.config.value_ranges.items()},
        )

    def scan(self) -> Scan:
        """Convert every cell; cells and columns that do not fit are faults."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        config = self.config
        raw = read_table(config.path, config.delimiter)
        if not raw.row_numbers and not raw.faults:
            raise ManifestError(f"{config.path}: the table has a header but no rows")
        match = match_columns(raw.columns, config.columns, config.ignore_columns, config.classes or ())
        if not match.has_source:
            # Every row would repeat what the header lacks.
            return Scan(manifest_table({}, 0), (), match.faults)
        values, faults = self._read_columns(raw, match)
        faults = [*raw.faults, *match.faults, *faults]
        if config.classes is None:
            faults += _spelling_faults(values.get("emotion", []))
        if "clip_id" not in values:
            values["clip_id"], more = _stems(values, raw.row_numbers)
            faults += more
        for name in set(PATH_COLUMNS) & set(values):
            values[name] = [path and relative_to_root(path, self.root) for path in values[name]]
        return Scan(manifest_table(values, len(raw.row_numbers)), raw.row_numbers, faults)

    def _read_columns(self, raw: RawTable, match: ColumnMatch) -> tuple[dict[str, list[Any]], list[Fault]]:
        classes = self.config.classes
        cells = {name: raw.columns[source] for name, source in match.sources.items()}
        faults: list[Fault] = []
        if "emotion_probs" in cells and classes is None:
            del cells["emotion_probs"]
            faults.append(Fault(None, None, "emotion_probs", "probabilities of unnamed classes", "with `classes` in their order"))
        if match.class_columns and "emotion_probs" not in cells:
            cells["emotion_probs"] = [list(row) for row in zip(*[raw.columns[name] for name in match.class_columns], strict=True)]
        values: dict[str, list[Any]] = {}
        for name, column in cells.items():
            values[name] = [None] * len(column)
            for index, cell in enumerate(column):
                try:
                    if name == "emotion_probs":
                        values[name][index] = read_soft_label(cell, len(classes or ()))
                    else:
                        values[name][index] = read_cell(cell, MANIFEST_SCHEMA.field(name).type)
                except CellError as error:
                    clip_id = str(cells["clip_id"][index]) if "clip_id" in cells else None
                    faults.append(Fault(raw.row_numbers[index], clip_id, name, f"{cell!r} does not fit", str(error)))
        if "emotion_probs" in values and "emotion" not in values:
            values["emotion"] = [most_probable(soft_label, classes or ()) for soft_label in values["emotion_probs"]]
        return values, faults


def _spelling_faults(emotions: list[str | None]) -> list[Fault]:
    """Inferred classes that differ only in case or blanks are most likely one class."""
    spellings = defaultdict(set)
    for emotion in emotions:
        if emotion is not None:
            spellings[" ".join(emotion.split()).casefold()].add(emotion)
    return [
        Fault(
            None, None, "emotion", f"{' and '.join(map(repr, sorted(names)))} differ only in case or blanks", "one spelling, or `classes`"
        )
        for names in spellings.values()
        if len(names) > 1
    ]


def _stems(values: dict[str, list[Any]], row_numbers: list[int]) -> tuple[list[str | None], list[Fault]]:
    """Ids from file names, if each row has its own."""
    columns = [values[name] for name in MEDIA_COLUMNS if name in values]
    paths = [next((column[index] for column in columns if column[index] is not None), None) for index in range(len(row_numbers))]
    stems = [posixpath.splitext(posixpath.basename(path))[0] if path else None for path in paths]
    rows_of = defaultdict(list)
    for number, stem in zip(row_numbers, stems, strict=True):
        rows_of[stem].append(number)
    allowed = "a column clip_id with one id per row (without it ids are file names without suffix, which must then differ)"
    if None in rows_of:
        what = f"the column is missing, and row {rows_of[None][0]} has no path to take an id from"
        return stems, [Fault(None, None, "clip_id", what, allowed)]
    for stem, rows in rows_of.items():
        if len(rows) > 1:
            what = f"the column is missing, and file names repeat: {stem!r} in rows {', '.join(map(str, rows[:3]))}"
            return stems, [Fault(None, None, "clip_id", what, allowed)]
    return stems, []
