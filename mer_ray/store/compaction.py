"""Many parts -> few big ones that hold each clip once.

New parts are published before the old ones go, so that a crash anywhere leaves every row readable; rows that then lie
in two parts are read once, and the next compaction removes them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import exclude
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.lease import hold_compaction
from mer_ray.store.parts import PartInfo, name_part, write_part
from mer_ray.store.publishing import remove_file, remove_leftovers
from mer_ray.store.record import find_record
from mer_ray.store.rows import fetch_rows
from mer_ray.store.scanning import PartIds, read_stable, scan_parts
from mer_ray.store.schemas import FAILURE_SCHEMA, feature_schema
from mer_ray.store.selection import IndexArray, all_clips, select_rows, stack_ids
from mer_ray.store.writer import POOLED_ROW_GROUP_BYTES, SEQUENCE_ROW_GROUP_BYTES

PART_BYTES = 256 * 2**20
# No writer takes a day for one part: what is older was left by a killed one.
LEFTOVER_AGE_S = 24 * 3600


@dataclass(frozen=True)
class CompactionSummary:
    """Parts before and after, rows that stood for nothing any more, and temporary files of killed writers."""

    num_parts_before: int
    num_parts_after: int
    num_rows_dropped: int
    num_leftovers: int


@dataclass(frozen=True)
class _Folder:
    """One folder of parts, and how its rows lie in a file."""

    store: Store
    corpus: str
    key: str
    kind: PartKind
    schema: pa.Schema
    group_bytes: int
    check_lease: Callable[[], None]

    @property
    def path(self) -> str:
        return self.store.part_folder(self.corpus, self.key, self.kind)


@dataclass(frozen=True)
class _Piece:
    """The rows of one part that are still needed."""

    part: PartIds
    rows: IndexArray

    @property
    def is_whole(self) -> bool:
        return len(self.rows) == int(self.part.ids.num_rows)

    @property
    def num_bytes(self) -> float:
        return self.part.num_bytes * len(self.rows) / sum(self.part.group_rows)


def compact(store: Store, corpus: str, key: str, part_bytes: int = PART_BYTES) -> CompactionSummary:
    """Merge the parts of one encoder into parts of about `part_bytes`: each clip once, its newest row, no failure that has features.

    Safe beside readers, writers and other compactions; a lease keeps it apart from removals, whose rows it could bring back.

    Raises:
        StoreError: no such encoder, a damaged or foreign part, a running removal, or the store cannot be written.

    """
    record = find_record(store, corpus, key)
    if record is None:
        raise StoreError(f"{store.locate(store.record_path(corpus, key))}: no such encoder in the store, so nothing to compact")
    group_bytes = SEQUENCE_ROW_GROUP_BYTES if record.sequences else POOLED_ROW_GROUP_BYTES
    with hold_compaction(store, corpus, key) as leases:
        features = _Folder(store, corpus, key, "features", feature_schema(record), group_bytes, leases.check)
        failures = _Folder(store, corpus, key, "failures", FAILURE_SCHEMA, group_bytes, leases.check)
        # Features first: they say which failures are void.
        counts = [read_stable(store, folder.path, partial(_compact_folder, folder, part_bytes)) for folder in (features, failures)]
        num_leftovers = sum(remove_leftovers(store, folder.path, LEFTOVER_AGE_S) for folder in (features, failures))
    before, after, dropped = (sum(column) for column in zip(*counts, strict=True))
    return CompactionSummary(before, after, dropped, num_leftovers)


def _compact_folder(folder: _Folder, part_bytes: int) -> tuple[int, int, int]:
    """The numbers of parts before and after, and of rows dropped."""
    parts = scan_parts(folder.store, folder.corpus, folder.key, folder.kind)
    pieces = _needed_pieces(folder, parts)
    settled = [piece for piece in pieces if piece.is_whole and piece.num_bytes >= part_bytes / 2]
    settled_paths = {piece.part.path for piece in settled}
    groups = _group([piece for piece in pieces if piece.part.path not in settled_paths], part_bytes)
    settled += [group[0] for group in groups if len(group) == 1 and group[0].is_whole]
    merged = [_write_group(folder, group) for group in groups if len(group) > 1 or not group[0].is_whole]
    kept_paths = {piece.part.path for piece in settled} | {part.path for part in merged}
    for part in parts:
        if part.path not in kept_paths:
            remove_file(folder.store, part.path)
    num_rows_dropped = sum(part.ids.num_rows for part in parts) - sum(len(piece.rows) for piece in pieces)
    return len(parts), len(kept_paths), num_rows_dropped


def _needed_pieces(folder: _Folder, parts: Sequence[PartIds]) -> list[_Piece]:
    pieces = [_Piece(parts[chosen.part], chosen.rows) for chosen in select_rows(parts, all_clips(parts)).by_part()]
    if folder.kind == "features":
        return pieces
    done = scan_parts(folder.store, folder.corpus, folder.key, "features")
    still_failed = []
    for piece in pieces:
        ids = piece.part.ids.take(pa.array(piece.rows)).append_column("row", pa.array(piece.rows))
        rows = (exclude(ids, stack_ids(done)) if done else ids)["row"].to_numpy()
        if len(rows):
            still_failed.append(_Piece(piece.part, rows))
    return still_failed


def _group(pieces: Sequence[_Piece], part_bytes: int) -> list[list[_Piece]]:
    groups: list[list[_Piece]] = []
    used = float(part_bytes)
    for piece in pieces:
        if used + piece.num_bytes > part_bytes:
            groups.append([])
            used = 0.0
        groups[-1].append(piece)
        used += piece.num_bytes
    return groups


def _write_group(folder: _Folder, group: Sequence[_Piece]) -> PartInfo:
    ids = pa.concat_tables([piece.part.ids.take(pa.array(piece.rows)) for piece in group])
    name = name_part(folder.key, ids["clip_id"].to_pylist(), ids["input_hash"].to_pylist())
    written_ns = max(piece.part.written_ns for piece in group)
    row_groups = _stream(folder, group)
    return write_part(folder.store, f"{folder.path}/{name}", folder.key, folder.kind, folder.schema, row_groups, ids.num_rows, written_ns)


def _stream(folder: _Folder, group: Sequence[_Piece]) -> Iterator[pa.Table]:
    """The rows of a group as tables of one row group each."""
    waiting: list[pa.Table] = []
    for piece in group:
        for fetched in fetch_rows(folder.store, folder.key, folder.kind, folder.schema, piece.part, piece.rows, folder.schema.names[1:]):
            table = fetched.table.replace_schema_metadata(None)
            waiting.append(table if len(fetched.where) == table.num_rows else table.take(pa.array(fetched.where)))
            if sum(table.nbytes for table in waiting) >= folder.group_bytes:
                yield from _cut(pa.concat_tables(waiting), folder.group_bytes)
                waiting = []
    if waiting:
        yield from _cut(pa.concat_tables(waiting), folder.group_bytes)
    # The part is published next.
    folder.check_lease()


def _cut(table: pa.Table, group_bytes: int) -> Iterator[pa.Table]:
    num_rows = max(1, int(group_bytes * table.num_rows / table.nbytes))
    for start in range(0, table.num_rows, num_rows):
        yield table.slice(start, num_rows)
