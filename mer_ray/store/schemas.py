"""The columns of the store's two kinds of parts.

Features: clip_id, input_hash, num_frames, frame_s, no_face_share where faces are looked for, snr_db where noise was added, and per layer
mean_<layer>, std_<layer> and, where kept, seq_<layer>.
Failures: clip_id, input_hash, stage, error_type, message, time.
"""

from typing import Literal

import pyarrow as pa

from mer_ray.store.record import EncoderRecord, StoredType

Statistic = Literal["mean", "std"]
STATISTICS: tuple[Statistic, ...] = ("mean", "std")

ID_COLUMNS = ("clip_id", "input_hash")
NO_FACE_SHARE = "no_face_share"
SNR_DB = "snr_db"
_ID_FIELDS = [pa.field(name, pa.string(), nullable=False) for name in ID_COLUMNS]

FAILURE_SCHEMA = pa.schema(
    [
        *_ID_FIELDS,
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)

_VALUE_TYPES: dict[StoredType, pa.DataType] = {"float16": pa.float16(), "float32": pa.float32()}


def feature_schema(record: EncoderRecord) -> pa.Schema:
    """The columns of an encoder's parts; a clip that lacks the modality has nulls in all of a layer's columns."""
    value_type = _VALUE_TYPES[record.dtype]
    fields = [*_ID_FIELDS, pa.field("num_frames", pa.int32(), nullable=False), pa.field("frame_s", pa.float64(), nullable=False)]
    if record.detects_faces:
        fields.append((NO_FACE_SHARE, pa.float32()))
    if record.adds_noise:
        fields.append((SNR_DB, pa.float32()))
    for layer, dim in record.layers.items():
        fields += [(f"{statistic}_{layer}", pa.list_(value_type, dim)) for statistic in STATISTICS]
        if layer in record.sequences:
            fields.append((f"seq_{layer}", pa.list_(value_type)))
    return pa.schema(fields)
