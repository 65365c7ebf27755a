"""Which rows a folder of parts holds: their ids only, read from all parts at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from mer_ray.core.artefacts import num_cores
from mer_ray.core.errors import StoreError
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.parts import PartGoneError, list_parts, open_part
from mer_ray.store.schemas import ID_COLUMNS

MAX_LISTINGS = 5
# A request to S3 waits far more than it computes.
NUM_REMOTE_THREADS = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class PartIds:
    """The ids of one part: `ids` has clip_id and input_hash; `group_rows` the rows of each row group."""

    path: str
    written_ns: int
    num_bytes: int
    ids: pa.Table
    group_rows: tuple[int, ...]


def scan_parts(store: Store, corpus: str, key: str, kind: PartKind) -> list[PartIds]:
    """Read the two id columns of every part, in the order of their paths; no parts where there is no folder.

    Raises:
        PartGoneError: a part went away meanwhile: see `read_stable`.
        StoreError: a part is damaged or foreign.

    """

    def scan(path: str) -> PartIds:
        with open_part(store, path, key, kind) as part:
            metadata = part.file.metadata
            groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
            ids = part.file.read(columns=list(ID_COLUMNS), use_threads=False).replace_schema_metadata(None)
            return PartIds(
                path, part.written_ns, sum(group.total_byte_size for group in groups), ids, tuple(group.num_rows for group in groups)
            )

    return map_threads(store, scan, list_parts(store, store.part_folder(corpus, key, kind)))


def map_threads(store: Store, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to all items, as many at once as the machine or the network likes; results in order."""
    num_threads = num_cores() if store.is_local else NUM_REMOTE_THREADS
    with ThreadPoolExecutor(num_threads) as executor:
        return list(executor.map(function, items))


def read_stable(store: Store, folder: str, read: Callable[[], Result]) -> Result:
    """Read again, from a new listing, when parts go away meanwhile: a compaction has published what they held before.

    Raises:
        StoreError: parts went away at every attempt.

    """
    for _ in range(MAX_LISTINGS):
        try:
            return read()
        except PartGoneError as error:
            gone = error
    raise StoreError(
        f"{store.locate(folder)}: parts went away at {MAX_LISTINGS} readings in a row; wait for the running compaction"
    ) from gone
