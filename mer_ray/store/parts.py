"""One part of a store: a Parquet file of ours, written whole, checked when opened."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from s3fs.utils import FileExpired

from mer_ray.core.config import digest_of
from mer_ray.core.errors import StoreError
from mer_ray.core.s3 import STORAGE_FAULTS, what_happened
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.publishing import TEMPORARY_SUFFIX, explain_faults, publish

METADATA_KEY = b"mer_ray_store"


class PartGoneError(StoreError):
    """A listed part went away, as a compaction does with parts that it has merged: list again."""


@dataclass(frozen=True)
class PartInfo:
    """A part that lies in the store."""

    path: str
    num_rows: int
    num_bytes: int
    written_ns: int


@dataclass(frozen=True)
class Part:
    """A part opened for reading; `written_ns` decides which of two rows of a clip is the newer."""

    path: str
    file: pq.ParquetFile
    written_ns: int


def name_part(key: str, clip_ids: Sequence[str], input_hashes: Sequence[str]) -> str:
    """`part-<hash>.parquet`: the same clips with the same inputs give the same name, so that writing a shard again replaces it."""
    return f"part-{digest_of([key, sorted(zip(clip_ids, input_hashes, strict=True))])[:32]}.parquet"


def write_part(
    store: Store, path: str, key: str, kind: PartKind, schema: pa.Schema, row_groups: Iterable[pa.Table], num_rows: int, written_ns: int
) -> PartInfo:
    """Write a part, a row group per table, close it, check its rows by opening it again, and only then publish it.

    Raises:
        StoreError: the file does not hold `num_rows` rows of `schema`, or the place cannot be written.

    """
    facts = {"kind": kind, "key": key, "written_ns": written_ns}
    with publish(store, path) as temporary:
        # Float16 features do not compress, and dictionaries of them only cost time; checksums tell a damaged page from data.
        with pq.ParquetWriter(
            temporary,
            schema.with_metadata({METADATA_KEY: json.dumps(facts).encode()}),
            compression="none",
            use_dictionary=False,
            write_statistics=["clip_id"],
            write_page_checksum=True,
        ) as writer:
            for table in row_groups:
                writer.write_table(table, row_group_size=max(1, table.num_rows))
        _verify(store, path, temporary, schema, num_rows)
        num_bytes = temporary.stat().st_size
    return PartInfo(path, num_rows, num_bytes, written_ns)


def list_files(store: Store, folder: str) -> list[str]:
    """The paths of everything in a folder, sorted; none where there is no folder.

    Raises:
        StoreError: the folder cannot be listed.

    """
    with explain_faults(store, folder, "listed"):
        try:
            return sorted(store.filesystem.ls(folder, detail=False))
        except FileNotFoundError:
            return []


def list_parts(store: Store, folder: str) -> list[str]:
    """The paths of the parts in a folder, sorted; none where there is no folder.

    Raises:
        StoreError: a file that is no part, or the folder cannot be listed.

    """
    parts = []
    for path in list_files(store, folder):
        name = path.rsplit("/", 1)[-1]
        # A killed writer leaves `.part-*.tmp`; `_` and `.` mark files that are no data, as in all Parquet folders; consoles of
        # S3 make nameless objects that stand for folders.
        if not name or name.startswith((".", "_")) or name.endswith(TEMPORARY_SUFFIX):
            continue
        if not (name.startswith("part-") and name.endswith(".parquet")):
            raise StoreError(f"{store.locate(path)}: not a file of a store, whose folders hold part-<hash>.parquet; move it elsewhere")
        parts.append(path)
    return parts


@contextmanager
def open_part(store: Store, path: str, key: str, kind: PartKind) -> Iterator[Part]:
    """Open a part for the block; faults of the file while it is read name it.

    Raises:
        PartGoneError: the part went away since it was listed.
        StoreError: not Parquet, damaged, not a part of this encoder, or unreadable for now.

    """
    try:
        with _open_source(store, path) as source, pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True) as file:
            yield Part(path, file, _written_ns(store, path, file, key, kind))
    except (pa.ArrowException, *STORAGE_FAULTS) as error:
        if isinstance(error, (FileNotFoundError, FileExpired)):
            raise PartGoneError(f"{store.locate(path)}: went away while it was read; read again") from error
        if _is_damage(error):
            raise StoreError(
                f"{store.locate(path)}: cannot be read as a part of this store ({what_happened(error)}); "
                "remove the file, its clips are then extracted again"
            ) from error
        with explain_faults(store, path, "read"):
            raise


def _is_damage(error: Exception) -> bool:
    """Whether the file's content is wrong: Parquet says so by its own errors, or by an OSError without a number.

    Who takes an unreachable server for damage tells people to remove good files.
    """
    return isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None)


@contextmanager
def _open_source(store: Store, path: str) -> Iterator[object]:
    if store.is_local:
        yield path
    else:
        # Parquet asks for exactly the ranges it needs; a read-ahead cache would fetch columns that nobody asked for.
        with store.filesystem.open(path, "rb", cache_type="none") as source:
            yield source


def _written_ns(store: Store, path: str, file: pq.ParquetFile, key: str, kind: PartKind) -> int:
    metadata = file.schema_arrow.metadata or {}
    if METADATA_KEY not in metadata:
        raise StoreError(f"{store.locate(path)}: a Parquet file, but not written by mer_ray; move it elsewhere")
    facts = json.loads(metadata[METADATA_KEY])
    if (facts["kind"], facts["key"]) != (kind, key):
        raise StoreError(f"{store.locate(path)}: holds {facts['kind']} of {facts['key']}, not {kind} of {key}; move it to its own folder")
    return int(facts["written_ns"])


def _verify(store: Store, path: str, temporary: Path, schema: pa.Schema, num_rows: int) -> None:
    with pq.ParquetFile(temporary) as written:
        if written.metadata.num_rows != num_rows or not written.schema_arrow.equals(schema, check_metadata=False):
            raise StoreError(
                f"{store.locate(path)}: not published: {written.metadata.num_rows} rows in the file instead of {num_rows}, "
                "or other columns; check the disk that holds temporary files and write again"
            )
