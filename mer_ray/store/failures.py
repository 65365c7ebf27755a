"""Which clips have failed and why, each once."""

import numpy as np
import pyarrow as pa

from mer_ray.store.catalog import exclude
from mer_ray.store.layout import Store
from mer_ray.store.rows import fetch_rows
from mer_ray.store.scanning import PartIds, read_stable, scan_parts
from mer_ray.store.schemas import FAILURE_SCHEMA, ID_COLUMNS
from mer_ray.store.selection import Selection, all_clips, select_rows, stack_ids


def read_failures(store: Store, corpus: str, key: str, wanted: pa.Table | None = None) -> pa.Table:
    """The clips that have failed (columns of `FAILURE_SCHEMA`), each once, by clip_id; features of the same input beat a failure.

    `wanted` (clip_id, input_hash) asks for these clips with these inputs only; without it a clip counts as failed where
    its failure is newer than its features.

    Raises:
        StoreError: a damaged or foreign part.

    """

    def read() -> pa.Table:
        # Failures first: what succeeds in between is then found among the features.
        parts = scan_parts(store, corpus, key, "failures")
        done = scan_parts(store, corpus, key, "features")
        if wanted is None:
            selection = select_rows(parts, all_clips(parts))
            keep = _written_ns(parts, selection) > _written_ns(done, select_rows(done, selection.clip_ids))
        else:
            clip_ids, input_hashes = (wanted[name].combine_chunks() for name in ID_COLUMNS)
            selection = select_rows(parts, clip_ids, input_hashes)
            keep = ~selection.is_stale
        tables = [FAILURE_SCHEMA.empty_table()]
        for chosen in selection.by_part():
            for fetched in fetch_rows(store, key, "failures", FAILURE_SCHEMA, parts[chosen.part], chosen.rows, FAILURE_SCHEMA.names[1:]):
                rows = fetched.where[keep[chosen.clips[fetched.which]]]
                tables.append(fetched.table.replace_schema_metadata(None).take(pa.array(rows)))
        failures = pa.concat_tables(tables)
        return (exclude(failures, stack_ids(done)) if done else failures).sort_by("clip_id")

    return read_stable(store, store.part_folder(corpus, key, "failures"), read)


def _written_ns(parts: list[PartIds], selection: Selection) -> np.typing.NDArray[np.int64]:
    """When the chosen row of each clip was written; 0 where there is none."""
    return np.array([*(part.written_ns for part in parts), 0])[selection.part_of_clip]
