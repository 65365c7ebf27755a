"""Features and failures of one shard -> one published part each.

Shapes: N rows, T frames, D feature dimension.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mer_ray.core.errors import EncoderError, StoreError
from mer_ray.core.media_types import Features, FloatArray
from mer_ray.store.layout import Store
from mer_ray.store.parts import PartInfo, name_part, write_part
from mer_ray.store.record import EncoderRecord, StoredType, write_record
from mer_ray.store.schemas import FAILURE_SCHEMA, NO_FACE_SHARE, SNR_DB, STATISTICS, feature_schema

# One clip's sequences must be readable without those of its whole part; pooled rows are read by the thousand.
SEQUENCE_ROW_GROUP_BYTES = 4 * 2**20
POOLED_ROW_GROUP_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One encoder's features of one clip, and the hash of what the encoder read."""

    clip_id: str
    input_hash: str
    features: Features


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Why a clip has no features: the stage (decode, encode...), the error and when (with time zone)."""

    clip_id: str
    input_hash: str
    stage: str
    error_type: str
    message: str
    time: datetime


def check_representable(features: Features, dtype: StoredType) -> None:
    """Make sure that every value is finite and stays so when stored as `dtype`.

    Raises:
        EncoderError: a value is not finite, or too large for float16.

    """
    for what, arrays in (("mean", features.mean), ("std", features.std), ("sequence", features.sequences)):
        for layer, values in arrays.items():
            lost = ~np.isfinite(_cast(values, dtype))
            if not lost.any():
                continue
            value = values[lost][0]
            if np.isfinite(value):
                raise EncoderError(f"layer {layer}, {what}: {value:g} is too large for {dtype} (65504 at most); store it as float32")
            raise EncoderError(f"layer {layer}, {what}: {int(lost.sum())} of {lost.size} values are not finite ({value})")


def write_features(store: Store, corpus: str, record: EncoderRecord, rows: Sequence[FeatureRow]) -> PartInfo:
    """Write one part of features, and `_encoder.json` where it lacks.

    Raises:
        EncoderError: features that break the record's layers or dims, or `check_representable`.
        StoreError: no rows, a clip twice, or the store cannot be written.

    """
    folder = store.part_folder(corpus, record.key, "features")
    name = _name_rows(store.locate(folder), record.key, rows)
    for row in rows:
        _check_features(row, record)
    write_record(store, corpus, record)
    schema = feature_schema(record)
    num_rows = _rows_per_group(record, sum(_num_bytes(row.features, record) for row in rows) / len(rows))
    groups = (_feature_table(rows[start : start + num_rows], record, schema) for start in range(0, len(rows), num_rows))
    return write_part(store, f"{folder}/{name}", record.key, "features", schema, groups, len(rows), time.time_ns())


def write_failures(store: Store, corpus: str, key: str, rows: Sequence[FailureRow]) -> PartInfo:
    """Write one part of failures.

    Raises:
        StoreError: no rows, a clip twice, a time without zone, or the store cannot be written.

    """
    folder = store.part_folder(corpus, key, "failures")
    name = _name_rows(store.locate(folder), key, rows)
    for row in rows:
        if row.time.tzinfo is None:
            raise StoreError(f"failure of {row.clip_id}: its time {row.time} has no time zone; use datetime.now(timezone.utc)")
    columns = [[getattr(row, name) for row in rows] for name in FAILURE_SCHEMA.names]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, FAILURE_SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=FAILURE_SCHEMA)
    return write_part(store, f"{folder}/{name}", key, "failures", FAILURE_SCHEMA, [table], len(rows), time.time_ns())


def _rows_per_group(record: EncoderRecord, row_bytes: float) -> int:
    """How many rows of an encoder lie together in the file."""
    return max(1, int((SEQUENCE_ROW_GROUP_BYTES if record.sequences else POOLED_ROW_GROUP_BYTES) / max(1.0, row_bytes)))


def _name_rows(folder: str, key: str, rows: Sequence[FeatureRow] | Sequence[FailureRow]) -> str:
    clip_ids = [row.clip_id for row in rows]
    if not clip_ids:
        raise StoreError(f"{folder}: a part needs at least one row; do not write an empty shard")
    twice = [clip_id for clip_id, count in Counter(clip_ids).items() if count > 1]
    if twice:
        raise StoreError(f"{folder}: a part holds a clip once, but not {', '.join(sorted(twice)[:5])}; plan each into one shard")
    return name_part(key, clip_ids, [row.input_hash for row in rows])


def _check_features(row: FeatureRow, record: EncoderRecord) -> None:
    features, where = row.features, f"encoder {record.key}, clip {row.clip_id}"
    has_frames = features.num_frames > 0
    if record.detects_faces and has_frames and features.no_face_share is None:
        raise EncoderError(f"{where}: no_face_share is missing, but this encoder looks for faces")
    if not record.detects_faces and features.no_face_share is not None:
        raise EncoderError(f"{where}: no_face_share is {features.no_face_share}, but the record says that no faces are looked for")
    if not record.adds_noise and features.snr_db is not None:
        raise EncoderError(f"{where}: snr_db is {features.snr_db}, but the record says that no noise is added")
    expected = {"mean": record.layers, "std": record.layers, "sequences": record.sequences}
    for what, layers in expected.items():
        arrays = getattr(features, what)
        wanted = set(layers) if has_frames else set()
        if set(arrays) != wanted:
            raise EncoderError(f"{where}: {what} of {features.num_frames} frames has layers {sorted(arrays)}, expected {sorted(wanted)}")
        for layer, values in arrays.items():
            shape = values.shape[1:] if what == "sequences" else values.shape
            if shape != (record.layers[layer],) or values.size == 0:
                raise EncoderError(f"{where}: {what} of layer {layer} has shape {values.shape}, but D is {record.layers[layer]}")
    try:
        check_representable(features, record.dtype)
    except EncoderError as error:
        raise EncoderError(f"{where}: {error}") from error


def _feature_table(rows: Sequence[FeatureRow], record: EncoderRecord, schema: pa.Schema) -> pa.Table:
    absent_N = np.array([row.features.num_frames == 0 for row in rows])
    columns = {
        "clip_id": [row.clip_id for row in rows],
        "input_hash": [row.input_hash for row in rows],
        "num_frames": [row.features.num_frames for row in rows],
        "frame_s": [row.features.frame_s for row in rows],
    }
    if record.detects_faces:
        columns[NO_FACE_SHARE] = [row.features.no_face_share for row in rows]
    if record.adds_noise:
        columns[SNR_DB] = [row.features.snr_db for row in rows]
    arrays = [pa.array(values, schema.field(name).type) for name, values in columns.items()]
    for layer, dim in record.layers.items():
        for statistic in STATISTICS:
            arrays.append(_pooled_array([getattr(row.features, statistic).get(layer) for row in rows], dim, record.dtype, absent_N))
        if layer in record.sequences:
            arrays.append(_sequence_array([row.features.sequences.get(layer) for row in rows], record.dtype, absent_N))
    return pa.Table.from_arrays(arrays, schema=schema)


def _pooled_array(values: Sequence[FloatArray | None], dim: int, dtype: StoredType, absent_N: npt.NDArray[np.bool_]) -> pa.Array:
    values_ND = np.zeros((len(values), dim), dtype)
    for row, values_D in enumerate(values):
        if values_D is not None:
            values_ND[row] = values_D
    return pa.FixedSizeListArray.from_arrays(pa.array(values_ND.reshape(-1)), dim, mask=pa.array(absent_N))


def _sequence_array(values: Sequence[FloatArray | None], dtype: StoredType, absent_N: npt.NDArray[np.bool_]) -> pa.Array:
    flat = [np.empty(0, dtype) if values_TD is None else _cast(values_TD, dtype).reshape(-1) for values_TD in values]
    offsets = np.cumsum([0, *(len(part) for part in flat)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.concatenate(flat)), mask=pa.array(absent_N))


def _cast(values: FloatArray, dtype: StoredType) -> npt.NDArray[np.floating]:
    # Whoever casts asks for infinities afterwards; numpy's warning would come once per clip.
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def _num_bytes(features: Features, record: EncoderRecord) -> int:
    size = np.dtype(record.dtype).itemsize
    arrays = [*features.mean.values(), *features.std.values(), *features.sequences.values()]
    return sum(values.size for values in arrays) * size
