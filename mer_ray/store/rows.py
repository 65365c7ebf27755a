"""Chosen rows of one part, read without the row groups and columns that hold none of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.parts import PartGoneError, open_part
from mer_ray.store.scanning import PartIds
from mer_ray.store.selection import IndexArray

# What one thread holds beside the arrays it fills.
READ_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FetchedRows:
    """`table` (clip_id and the columns asked for) holds the rows `which` of those asked for, at its rows `where`."""

    table: pa.Table
    where: IndexArray
    which: slice


def fetch_rows(
    store: Store, key: str, kind: PartKind, schema: pa.Schema, part: PartIds, rows: IndexArray, columns: Sequence[str]
) -> Iterator[FetchedRows]:
    """Read the row groups that hold `rows` (ascending), some 64 MiB at a time, in their order.

    Raises:
        PartGoneError: the part went away since it was listed, or was replaced by one with the same clips in another order.
        StoreError: the part is damaged, foreign, or of another schema.

    """
    first_of_group = np.cumsum([0, *part.group_rows])
    groups = np.unique(np.searchsorted(first_of_group, rows, side="right") - 1)
    with open_part(store, part.path, key, kind) as opened:
        if not opened.file.schema_arrow.equals(schema, check_metadata=False):
            raise StoreError(f"{store.locate(part.path)}: has other columns than the encoder's record says; move it elsewhere")
        metadata = opened.file.metadata
        if part.group_rows != tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)):
            raise PartGoneError(f"{store.locate(part.path)}: was replaced while it was read; read again")
        num_together = max(1, READ_BYTES // _column_bytes(opened.file, columns))
        for start in range(0, len(groups), num_together):
            together = groups[start : start + num_together]
            table = opened.file.read_row_groups(together.tolist(), columns=["clip_id", *columns])
            which = slice(*np.searchsorted(rows, [first_of_group[together[0]], first_of_group[together[-1] + 1]]))
            # Row groups between these that hold no chosen row are not in the table.
            sizes = first_of_group[together + 1] - first_of_group[together]
            offsets = np.cumsum([0, *sizes[:-1]]) - first_of_group[together]
            group_of_row = np.searchsorted(first_of_group[together], rows[which], side="right") - 1
            where = rows[which] + offsets[group_of_row]
            if not table["clip_id"].take(pa.array(where)).equals(part.ids["clip_id"].take(pa.array(rows[which]))):
                raise PartGoneError(f"{store.locate(part.path)}: was replaced while it was read; read again")
            yield FetchedRows(table, where, which)


def _column_bytes(file: pq.ParquetFile, columns: Sequence[str]) -> int:
    """The size of these columns in one row group; all are cut alike."""
    group = file.metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    return max(1, sum(int(chunk.total_compressed_size) for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns))
