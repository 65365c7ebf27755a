"""Reading exactly once what was written at least once: which row of which part stands for a clip.

Shapes: N clips, R rows of all parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.store.scanning import PartIds

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ChosenRows:
    """Rows of part number `part`, ascending, and the clips (positions in the selection) that they stand for."""

    part: int
    rows: IndexArray
    clips: IndexArray


@dataclass(frozen=True)
class Selection:
    """For each clip (N,) the number of its part and its row there, -1 where no part has the clip.

    `is_stale` (N,): another input hash was asked for, but only this row exists.
    """

    clip_ids: pa.Array
    part_of_clip: IndexArray
    row_of_clip: IndexArray
    is_stale: npt.NDArray[np.bool_]

    @property
    def is_missing(self) -> npt.NDArray[np.bool_]:
        """(N,): no part has the clip."""
        return self.part_of_clip < 0

    def by_part(self) -> list[ChosenRows]:
        """The chosen rows, part by part."""
        order = np.lexsort((self.row_of_clip, self.part_of_clip))
        order = order[~self.is_missing[order]]
        numbers, starts = np.unique(self.part_of_clip[order], return_index=True)
        pieces = np.split(order, starts[1:])
        return [ChosenRows(int(number), self.row_of_clip[clips], clips) for number, clips in zip(numbers, pieces, strict=False)]


def stack_ids(parts: Sequence[PartIds]) -> pa.Table:
    """All ids of all parts: clip_id, input_hash."""
    return pa.concat_tables([part.ids for part in parts])


def all_clips(parts: Sequence[PartIds]) -> pa.Array:
    """Every clip of any part once, sorted."""
    clip_ids = pc.unique(stack_ids(parts)["clip_id"]) if parts else pa.array([], pa.string())
    return clip_ids.take(pc.sort_indices(clip_ids))


def select_rows(parts: Sequence[PartIds], clip_ids: pa.Array, input_hashes: pa.Array | None = None) -> Selection:
    """Choose one row per clip: that of its wanted input hash (null = any) first, then the newest.

    `clip_ids` (N,) are unique, `input_hashes` (N,) belong to them.
    """
    num_clips = len(clip_ids)
    part_N, row_N = np.full(num_clips, -1, np.int64), np.full(num_clips, -1, np.int64)
    stale_N = np.zeros(num_clips, bool)
    if not parts:
        return Selection(clip_ids, part_N, row_N, stale_N)
    ids = stack_ids(parts)
    num_rows = [part.ids.num_rows for part in parts]
    clip_R = pc.fill_null(pc.index_in(ids["clip_id"], value_set=clip_ids), -1).to_numpy().astype(np.int64)
    part_R = np.repeat(np.arange(len(parts)), num_rows)
    row_R = np.concatenate([np.arange(count) for count in num_rows])
    written_R = np.repeat([part.written_ns for part in parts], num_rows)
    current_R = np.ones(len(clip_R), bool)
    if input_hashes is not None:
        wanted = pc.take(input_hashes, pa.array(clip_R, mask=clip_R < 0))
        current_R = pc.fill_null(pc.equal(ids["input_hash"].combine_chunks(), wanted), True).to_numpy(zero_copy_only=False)
    # Ascending by preference within a clip; the later assignment wins.
    order = np.lexsort((part_R, written_R, current_R, clip_R))
    order = order[clip_R[order] >= 0]
    last = np.append(np.diff(clip_R[order]) != 0, True)[: len(order)]
    chosen = order[last]
    part_N[clip_R[chosen]], row_N[clip_R[chosen]] = part_R[chosen], row_R[chosen]
    stale_N[clip_R[chosen]] = ~current_R[chosen]
    return Selection(clip_ids, part_N, row_N, stale_N)
