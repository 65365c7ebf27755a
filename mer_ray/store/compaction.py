"""Many parts -> few big ones that hold each clip once.

New parts are published before the old ones go, so that a crash anywhere leaves every row readable; rows that then lie
in two parts are read once, and the next compaction removes them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import exclude
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.parts import name_part, write_part
from mer_ray.store.publishing import TEMPORARY_SUFFIX, explain_faults
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
class _Piece:
    """The rows of one part that are still needed."""

    part: PartIds
    rows: IndexArray

    @property
    def is_whole(self) -> bool:
        return len(self.rows) == self.part.ids.num_rows

    @property
    def num_bytes(self) -> float:
        return self.part.num_bytes * len(self.rows) / max(1, self.part.ids.num_rows)


def compact(store: Store, corpus: str, key: str, part_bytes: int = PART_BYTES) -> CompactionSummary:
    """Merge the parts of one encoder into parts of about `part_bytes`: each clip once, its newest row, no failure that has features.

    Safe beside readers, writers and other compactions.

    Raises:
        StoreError: no such encoder, a damaged or foreign part, or the store cannot be written.

    """
    record = find_record(store, corpus, key)
    if record is None:
        raise StoreError(f"{store.locate(store.record_path(corpus, key))}: no such encoder in the store; nothing to compact")
    group_bytes = SEQUENCE_ROW_GROUP_BYTES if record.sequences else POOLED_ROW_GROUP_BYTES

    def merge_features() -> tuple[int, int, int]:
        parts = scan_parts(store, corpus, key, "features")
        keep = _newest(parts)
        return _merge(store, corpus, key, "features", feature_schema(record), parts, keep, part_bytes, group_bytes)

    def merge_failures() -> tuple[int, int, int]:
        parts = scan_parts(store, corpus, key, "failures")
        ...
