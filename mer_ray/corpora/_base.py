"""What every corpus is: a config that builds it, facts that hold for all its clips, and a scan into manifest rows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import AfterValidator

from mer_ray.core.config import Config, Place, where_or_how_fast
from mer_ray.core.errors import ConfigError
from mer_ray.core.manifest import CORPUS_NAME, MANIFEST_SCHEMA, ManifestFacts
from mer_ray.corpora.faults import Fault, SourceRow

_NAME_RULE = "cannot name a folder of the store; allowed: letters A to Z, digits and . _ @ + -, starting with a letter or digit"
_NULLABLE_SCHEMA = pa.schema([field.with_nullable(True) for field in MANIFEST_SCHEMA])


def _low_below_high(ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    for name, (low, high) in ranges.items():
        if not low < high:
            raise ValueError(f"{name}: a range is [lowest, highest], not [{low}, {high}]")
    return ranges


ValueRanges = Annotated[dict[Literal["valence", "arousal", "dominance"], tuple[float, float]], AfterValidator(_low_below_high)]


def _names_a_folder(name: str) -> str:
    if CORPUS_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} {_NAME_RULE}")
    return name


CorpusName = Annotated[str, AfterValidator(_names_a_folder)]


def choose_corpus_name(given: str | None, default: str) -> str:
    """The given name, else the default if it can be a folder of the store.

    Raises:
        ConfigError: the default cannot.

    """
    if given is None and CORPUS_NAME.fullmatch(default) is None:
        raise ConfigError(f"corpus.corpus_name: required, because the default {default!r} {_NAME_RULE}")
    return default if given is None else given


@dataclass(frozen=True)
class Scan:
    """What a corpus holds, before any file is opened.

    `table` has the columns of `MANIFEST_SCHEMA` (`clip_id` null where it has none yet known); `row_numbers[i]` is where
    the user finds row i: the line of a CSV, the place from 1 in a Parquet file or a sorted folder listing. A row
    named by a fault may be in the table (with nulls for what could not be read) or not. `needs_sources`: a row with neither
    a file nor text is a fault; a corpus that comes with features may have such rows. `notes` are told to the user, a line each:
    counts that differ from the published ones, labels left out. `is_checked`: the faults of `check_rows` are among `faults`.
    """

    table: pa.Table
    row_numbers: Sequence[SourceRow]
    faults: Sequence[Fault] = ()
    needs_sources: bool = True
    notes: Sequence[str] = ()
    is_checked: bool = False

    @cached_property
    def clip_ids(self) -> list[str | None]:
        """The ids of the rows."""
        return list(self.table["clip_id"].to_pylist())

    def with_columns(self, **columns: Sequence[Any] | pa.Array) -> Self:
        """The scan with other values in some columns of its table."""
        table = self.table
        for name, values in columns.items():
            field = _NULLABLE_SCHEMA.field(name)
            array = values.cast(field.type) if isinstance(values, pa.Array) else pa.array(values, field.type)
            table = table.set_column(table.column_names.index(name), field, array)
        return replace(self, table=table)

    def fault(self, index: int, column: str, what: str, allowed: str) -> Fault:
        """A fault of row `index` of the table."""
        return Fault(self.row_numbers[index], self.clip_ids[index], column, what, allowed)


class Corpus(ABC):
    """A dataset as released, on disk or S3."""

    @abstractmethod
    def facts(self) -> ManifestFacts:
        """What holds for the whole corpus.

        Raises:
            ManifestError: the corpus cannot be read at all.

        """

    @abstractmethod
    def scan(self) -> Scan:
        """List the clips without opening media; what cannot be read becomes faults.

        Raises:
            ManifestError: the corpus cannot be read at all.

        """


class BaseCorpusConfig(Config, ABC):
    """Base of the configs of corpora; each adds `name`, the tag of its family."""

    @abstractmethod
    def build(self) -> Corpus:
        """The corpus that this config describes."""

    @abstractmethod
    def places(self) -> tuple[str, ...]:
        """The files and folders, local or URLs, that decide what a scan finds."""


class CorpusConfig(BaseCorpusConfig, ABC):
    """Base of the configs of corpora that lie in one place: a folder or a table."""

    path: Place = where_or_how_fast(min_length=1)

    def places(self) -> tuple[str, ...]:
        """The one place; a corpus that reads files of other places adds them."""
        return (self.path,)


def manifest_table(columns: Mapping[str, Sequence[Any]], num_rows: int) -> pa.Table:
    """A table with all columns of the manifest; those not given are null. `clip_id` may be null until validated."""
    arrays = [
        pa.array(columns[field.name], type=field.type) if field.name in columns else pa.nulls(num_rows, field.type)
        for field in _NULLABLE_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=_NULLABLE_SCHEMA)
