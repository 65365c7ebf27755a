"""A CSV or Parquet file, local or on S3, as named columns of raw cells with the row numbers that its user sees."""

import csv
import io
import posixpath
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.errors import ManifestError
from mer_ray.core.s3 import STORAGE_FAULTS, find_filesystem, what_happened
from mer_ray.corpora.faults import Fault

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET_SUFFIXES = (".parquet", ".pq")
# One cell may hold a long transcript; beyond this the file has an unclosed quote.
MAX_CELL_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class RawTable:
    """Cells by column; `row_numbers[i]` is the line of a CSV on which row i ends, or the place from 1 in a Parquet file."""

    columns: dict[str, list[Any]]
    row_numbers: list[int]
    faults: list[Fault] = field(default_factory=list)


def read_table(path: str, delimiter: str | None) -> RawTable:
    """Read a table by its suffix: `.csv`, `.tsv`, `.parquet`, `.pq`.

    Raises:
        ManifestError: no such file, another suffix, or not a table.

    """
    suffix = posixpath.splitext(path)[1].lower()
    if suffix not in DELIMITERS and suffix not in PARQUET_SUFFIXES:
        raise ManifestError(f"{path}: a table is a file ending in {', '.join([*DELIMITERS, *PARQUET_SUFFIXES])}")
    try:
        filesystem, name = find_filesystem(path)
        content = filesystem.cat_file(name)
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: no such table; correct `path`") from error
    except STORAGE_FAULTS as error:
        raise ManifestError(f"{path}: the table cannot be read: {what_happened(error)}") from error
    if suffix in PARQUET_SUFFIXES:
        return _read_parquet(path, content)
    return _read_csv(path, content, delimiter or DELIMITERS[suffix])


def _read_parquet(path: str, content: bytes) -> RawTable:
    try:
        table = pq.read_table(io.BytesIO(content))
    except pa.ArrowInvalid as error:
        raise ManifestError(f"{path}: not a Parquet file that can be read: {error}") from error
    _check_header(path, table.column_names)
    return RawTable(table.to_pydict(), list(range(1, table.num_rows + 1)))


def _read_csv(path: str, content: bytes, delimiter: str) -> RawTable:
    try:
        text = content.decode("utf-8-sig")  # spreadsheets put a byte order mark in front
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}: line {line} is not UTF-8; save the table with the encoding UTF-8") from error
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        records = [(reader.line_num, record) for record in reader if record]
    except csv.Error as error:
        raise ManifestError(f"{path}: line {reader.line_num}: not valid CSV: {error}") from error
    whole = [(number, record) for number, record in records if len(record) == len(header)]
    columns = {name: [record[index] for _, record in whole] for index, name in enumerate(header)}
    faults = [
        Fault(number, None, None, f"has {len(record)} cells", f"{len(header)}, as in the header; quote cells that hold {delimiter!r}")
        for number, record in records
        if len(record) != len(header)
    ]
    return RawTable(columns, [number for number, _ in whole], faults)


def _check_header(path: str, names: list[str]) -> None:
    if not names:
        raise ManifestError(f"{path}: the table is empty, without even a header; copy or export it again")
    if len(names) == 1:
        other = next((sign for sign in (";", "\t", "|") if sign in names[0]), None)
        if other:
            raise ManifestError(
                f"{path}: the header {names[0]!r} is one cell; if cells end at {other!r}, save the table with commas "
                f"(the corpus `table` reads it as it is with `delimiter: {other!r}`)"
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ManifestError(f"{path}: the columns {', '.join(map(repr, twice))} stand twice in the header; rename or remove one of each")
