"""Small encoders and seeded features, as an extraction would write them."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from mer_ray.core.media_types import Features
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow

LAYERS = {"low": 3, "high": 5}


def make_record(name="spectral", seed="1", layers=LAYERS, **changes):
    identity = hashlib.sha256(f"{name}/{seed}".encode()).hexdigest()
    fields = {"name": name, "key": encoder_key(name, identity), "identity": identity, "config": {"name": name}, "modality": "audio"}
    return EncoderRecord(**{**fields, "layers": layers, "frame_s": 0.02, **changes})


def make_features(record, seed, num_frames=None):
    generator = np.random.default_rng(seed)
    num_frames = int(generator.integers(1, 9)) if num_frames is None else num_frames
    if num_frames == 0:
        return Features(0, 0.0)
    draw = {
        statistic: {layer: generator.standard_normal(dim).astype(np.float32) for layer, dim in record.layers.items()}
        for statistic in ("mean", "std")
    }
    sequences = {layer: generator.standard_normal((num_frames, record.layers[layer])).astype(np.float32) for layer in record.sequences}
    return Features(num_frames, 0.02, draw["mean"], draw["std"], sequences)


def make_rows(record, clip_ids, input_hash="a", seed=0, num_frames=None):
    return [FeatureRow(clip_id, input_hash, make_features(record, [seed, *clip_id.encode()], num_frames)) for clip_id in clip_ids]


def make_failures(clip_ids, input_hash="a", message="no stream"):
    time = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    return [FailureRow(clip_id, input_hash, "decode", "MediaError", message, time) for clip_id in clip_ids]


def wanted_table(pairs):
    clip_ids, input_hashes = zip(*pairs, strict=True)
    return pa.table({"clip_id": list(clip_ids), "input_hash": list(input_hashes)})


def pairs_of(table):
    return list(zip(table["clip_id"].to_pylist(), table["input_hash"].to_pylist(), strict=True))
