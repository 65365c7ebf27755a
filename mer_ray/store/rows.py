"""Chosen rows of one part, read without the row groups and columns that hold none of them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.parts import open_part
from mer_ray.store.scanning import PartIds
from mer_ray.store.selection import IndexArray


def fetch_rows(
    store: Store, key: str, kind: PartKind, schema: pa.Schema, part: PartIds, rows: IndexArray, columns: Sequence[str]
) -> tuple[pa.Table, IndexArray]:
    """Read the row groups that hold `rows` (ascending); return them as a table, and where in it the rows are.

    Raises:
        PartGoneError: the part went away since it was listed.
        StoreError: the part is damaged, foreign, or of another schema.

    """
    first_of_group = np.cumsum([0, *part.group_rows])
    group_of_row = np.searchsorted(first_of_group, rows, side="right") - 1
    groups = np.unique(group_of_row)
    skipped_before_group = first_of_group[groups] - np.cumsum([0, *(part.group_rows[group] for group in groups[:-1])])
    with open_part(store, part.path, key, kind) as opened:
        if not opened.file.schema_arrow.equals(schema, check_metadata=False):
            raise StoreError(f"{store.locate(part.path)}: has other columns than the encoder's record says; move it elsewhere")
        table = opened.file.read_row_groups(groups.tolist(), columns=list(columns))
    return table, rows - skipped_before_group[np.searchsorted(groups, group_of_row)]
