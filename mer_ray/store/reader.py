"""Stored features -> arrays, each clip exactly once, only the columns that are asked for.

Shapes: N clips, T frames of all clips, D feature dimension, R rows of one chunk of a column.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord
from mer_ray.store.rows import FetchedRows, fetch_rows
from mer_ray.store.scanning import PartIds, map_threads, read_stable, scan_parts
from mer_ray.store.schemas import STATISTICS, Statistic, feature_schema
from mer_ray.store.selection import ChosenRows, IndexArray, Selection, all_clips, select_rows

StoredArray = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class PooledFeatures:
    """Pooled features of N clips, in the order asked for (else by clip_id).

    `columns["mean_<layer>"]` (N, D) in the stored type, zero where absent. `present` (N,) is False where the clip lacks
    the modality (`num_frames` 0) or has no row at all (then it is in `missing`). `stale` clips have a row only for
    another input hash than the one asked for.
    """

    clip_ids: tuple[str, ...]
    num_frames: npt.NDArray[np.int32]
    present: npt.NDArray[np.bool_]
    columns: dict[str, StoredArray]
    missing: tuple[str, ...]
    stale: tuple[str, ...]


@dataclass(frozen=True)
class SequenceFeatures:
    """Frames of N clips end to end, per layer: clip i is `values[layer][offsets[layer][i]:offsets[layer][i + 1]]`.

    `values[layer]` (T, D) in the stored type, `offsets[layer]` int64 (N + 1,); a clip without the modality has no
    frames. `frame_s` (N,) seconds between frames before any pooling in time, NaN where missing. The rest as in
    `PooledFeatures`.
    """

    clip_ids: tuple[str, ...]
    num_frames: npt.NDArray[np.int32]
    frame_s: npt.NDArray[np.float64]
    present: npt.NDArray[np.bool_]
    values: dict[str, StoredArray]
    offsets: dict[str, npt.NDArray[np.int64]]
    missing: tuple[str, ...]
    stale: tuple[str, ...]


def read_pooled(
    store: Store,
    corpus: str,
    record: EncoderRecord,
    layers: Sequence[str] | None = None,
    statistics: Sequence[Statistic] = STATISTICS,
    clip_ids: Sequence[str] | None = None,
    input_hashes: Sequence[str | None] | None = None,
) -> PooledFeatures:
    """Read means and deviations of some layers (None = all) of some clips (None = all).

    Of several rows of a clip that of its entry in `input_hashes` (N,) wins, then the newest.

    Raises:
        StoreError: an unknown layer or statistic, a clip asked for twice, or a damaged or foreign part.

    """
    chosen = _check_names("layers", layers, record.layers, record.key)
    kinds = _check_names("statistics", statistics, STATISTICS, record.key)
    dims = {f"{statistic}_{layer}": record.layers[layer] for layer in chosen for statistic in kinds}
    schema = feature_schema(record)

    def read() -> PooledFeatures:
        parts, selection = _select(store, corpus, record.key, clip_ids, input_hashes)
        num_clips = len(selection.clip_ids)
        columns: dict[str, StoredArray] = {name: np.zeros((num_clips, dim), record.dtype) for name, dim in dims.items()}
        num_frames_N = np.zeros(num_clips, np.int32)

        def place(chosen: ChosenRows) -> None:
            part = parts[chosen.part]
            for fetched in fetch_rows(store, record.key, "features", schema, part, chosen.rows, ["num_frames", *dims]):
                clips = chosen.clips[fetched.which]
                num_frames_N[clips] = fetched.table["num_frames"].to_numpy()[fetched.where]
                for name, values_ND in columns.items():
                    _place_vectors(fetched.table[name], fetched.where, clips, values_ND)

        map_threads(store, place, selection.by_part())
        missing, stale = _explain(selection)
        return PooledFeatures(tuple(selection.clip_ids.to_pylist()), num_frames_N, num_frames_N > 0, columns, missing, stale)

    return read_stable(store, store.part_folder(corpus, record.key, "features"), read)


def read_sequences(
    store: Store,
    corpus: str,
    record: EncoderRecord,
    layers: Sequence[str] | None = None,
    clip_ids: Sequence[str] | None = None,
    input_hashes: Sequence[str | None] | None = None,
) -> SequenceFeatures:
    """Read the frames of some of the layers that were kept (None = all of them) of some clips (None = all).

    Raises:
        StoreError: a layer whose sequence was not kept, a clip asked for twice, or a damaged or foreign part.

    """
    chosen_layers = _check_names("sequences", layers, record.sequences, record.key)
    names = ["num_frames", "frame_s", *(f"seq_{layer}" for layer in chosen_layers)]
    schema = feature_schema(record)

    def read() -> SequenceFeatures:
        parts, selection = _select(store, corpus, record.key, clip_ids, input_hashes)
        num_clips = len(selection.clip_ids)
        num_frames_N, frame_s_N = np.zeros(num_clips, np.int32), np.full(num_clips, np.nan)
        lengths = {layer: np.zeros(num_clips, np.int64) for layer in chosen_layers}

        def fetch(chosen: ChosenRows) -> list[tuple[FetchedRows, IndexArray]]:
            pieces = []
            for fetched in fetch_rows(store, record.key, "features", schema, parts[chosen.part], chosen.rows, names):
                clips = chosen.clips[fetched.which]
                num_frames_N[clips] = fetched.table["num_frames"].to_numpy()[fetched.where]
                frame_s_N[clips] = fetched.table["frame_s"].to_numpy()[fetched.where]
                for layer, lengths_N in lengths.items():
                    num_values = pc.fill_null(pc.list_value_length(fetched.table[f"seq_{layer}"]), 0).to_numpy()
                    lengths_N[clips] = num_values[fetched.where] // record.layers[layer]
                pieces.append((fetched, clips))
            return pieces

        pieces = [piece for some in map_threads(store, fetch, selection.by_part()) for piece in some]
        offsets = {layer: np.append(0, np.cumsum(lengths_N)) for layer, lengths_N in lengths.items()}
        values: dict[str, StoredArray] = {
            layer: np.empty((offsets[layer][-1], record.layers[layer]), record.dtype) for layer in chosen_layers
        }
        while pieces:
            fetched, clips = pieces.pop()
            for layer, values_TD in values.items():
                _place_frames(fetched.table[f"seq_{layer}"], fetched.where, offsets[layer][clips], values_TD)
        missing, stale = _explain(selection)
        clips_read = tuple(selection.clip_ids.to_pylist())
        return SequenceFeatures(clips_read, num_frames_N, frame_s_N, num_frames_N > 0, values, offsets, missing, stale)

    return read_stable(store, store.part_folder(corpus, record.key, "features"), read)


def _select(
    store: Store, corpus: str, key: str, clip_ids: Sequence[str] | None, input_hashes: Sequence[str | None] | None
) -> tuple[list[PartIds], Selection]:
    parts = scan_parts(store, corpus, key, "features")
    if clip_ids is None:
        if input_hashes is not None:
            raise StoreError(f"reading {corpus}/{key}: input_hashes belong to clip_ids; give both or neither")
        return parts, select_rows(parts, all_clips(parts))
    wanted = pa.array(clip_ids, pa.string())
    if pc.count_distinct(wanted).as_py() != len(wanted):
        raise StoreError(f"reading {corpus}/{key}: a clip is asked for twice; ask for each clip once")
    return parts, select_rows(parts, wanted, None if input_hashes is None else pa.array(input_hashes, pa.string()))


def _check_names(what: str, names: Sequence[str] | None, allowed: Iterable[str], key: str) -> list[str]:
    known = list(allowed)
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise StoreError(f"{what} {', '.join(unknown)}: not stored for {key}; allowed: {', '.join(known) or 'none'}")
    return known if names is None else list(names)


def _explain(selection: Selection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    missing = selection.clip_ids.filter(pa.array(selection.is_missing)).to_pylist()
    return tuple(missing), tuple(selection.clip_ids.filter(pa.array(selection.is_stale)).to_pylist())


def _chunks(column: pa.ChunkedArray, rows: IndexArray) -> Iterator[tuple[pa.Array, IndexArray, slice]]:
    """Each chunk with the rows in it, counted from its start, and which of `rows` these are."""
    start = 0
    for chunk in column.chunks:
        first, end = np.searchsorted(rows, [start, start + len(chunk)])
        yield chunk, rows[first:end] - start, slice(first, end)
        start += len(chunk)


def _place_vectors(column: pa.ChunkedArray, rows: IndexArray, clips: IndexArray, values_ND: StoredArray) -> None:
    for chunk, local, which in _chunks(column, rows):
        targets = clips[which]
        if chunk.null_count:
            # Nulls take no room in the flattened values.
            valid_R = chunk.is_valid().to_numpy(zero_copy_only=False)
            has_values = valid_R[local]
            targets, local = targets[has_values], (np.cumsum(valid_R) - 1)[local[has_values]]
        values_RD = chunk.flatten().to_numpy().reshape(-1, values_ND.shape[1])
        values_ND[targets] = values_RD if len(local) == len(values_RD) else values_RD[local]


def _place_frames(column: pa.ChunkedArray, rows: IndexArray, starts: IndexArray, values_TD: StoredArray) -> None:
    dim = values_TD.shape[1]
    for chunk, local, which in _chunks(column, rows):
        frames_TD = chunk.values.to_numpy().reshape(-1, dim)
        offsets = chunk.offsets.to_numpy() // dim
        for row, start in zip(local, starts[which], strict=True):
            frames = frames_TD[offsets[row] : offsets[row + 1]]
            values_TD[start : start + len(frames)] = frames
