"""Features of the clips to predict: encoded in this process, or read from a store.

Shapes: N clips, D feature dimension of a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mer_ray.batching import EncoderFeatures, Frames, StoredArray
from mer_ray.core.media_types import Clip, Features, FloatArray
from mer_ray.core.progress import track
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import EncoderConfig
from mer_ray.extraction.shard_encoder import ShardDecoder, ShardEncoder, begin_report
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.store.catalog import list_encoders
from mer_ray.store.clip_columns import read_snr
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord
from mer_ray.training.encoder_features import WantedLayers, read_encoder_features

# Clips that are decoded before they are encoded together.
CLIPS_TOGETHER = 8
PIECE_MB = 64.0


@dataclass(frozen=True)
class ClipFeatures:
    """`by_key[encoder key]` over N clips, and why clips failed: `faults[clip id]`, a line per encoder.

    `snr_db[encoder key]` (N,) of encoders that add noise: at which ratio in dB, NaN where none was added.
    """

    by_key: dict[str, EncoderFeatures]
    faults: dict[str, list[str]] = field(default_factory=dict)
    snr_db: dict[str, FloatArray] = field(default_factory=dict)


class ClipEncoder:
    """Built encoders that take clips from files to features, in this process and without a store."""

    def __init__(
        self, configs: Mapping[str, EncoderConfig], records: Mapping[str, EncoderRecord], device: str, limits: MediaLimits
    ) -> None:
        self.records = records
        self._encoder = ShardEncoder(list(configs.values()), device)
        self._decoder = ShardDecoder(self._encoder.configs, limits, PIECE_MB)

    def encode(self, clips: Sequence[Clip], wanted: Mapping[str, WantedLayers]) -> ClipFeatures:
        """Features of all clips, in the store's number type, as far as `wanted` asks for them.

        Raises:
            ClusterError: a fault of the machine.

        """
        found: dict[str, list[Features]] = {key: [] for key in self._encoder.configs}
        faults: dict[str, list[str]] = {}
        with track("encode", len(clips)) as bar:
            for start in range(0, len(clips), CLIPS_TOGETHER):
                some = clips[start : start + CLIPS_TOGETHER]
                # The hash of an input belongs to a store.
                shard = Shard(0, tuple(ShardClip(clip, dict.fromkeys(found, "")) for clip in some))
                report = begin_report(shard)
                with self._decoder.fetched(shard, report) as copies:
                    encoded = self._encoder.encode(self._decoder.decode(shard, copies, report))
                for key, pairs in encoded.outcomes.items():
                    for item, outcome in pairs:
                        if not isinstance(outcome, Features):
                            faults.setdefault(item.clip.clip_id, []).append(outcome.message)
                        found[key].append(outcome if isinstance(outcome, Features) else Features(0, 0.0))
                bar.advance(len(some))
        return ClipFeatures(
            {key: _stack(self.records[key], wanted[key], features) for key, features in found.items()},
            faults,
            {key: _ratios(features) for key, features in found.items() if self.records[key].adds_noise},
        )


def _ratios(features: Sequence[Features]) -> FloatArray:
    return np.array([np.nan if one.snr_db is None else one.snr_db for one in features], np.float32)


def _stack(record: EncoderRecord, wanted: WantedLayers, features: Sequence[Features]) -> EncoderFeatures:
    present_N = np.array([one.num_frames > 0 for one in features], bool)
    columns, dtype = _empty_columns(record, wanted, len(features)), np.dtype(record.dtype)
    for row in np.flatnonzero(present_N).tolist():
        for layer in wanted.pooled:
            columns[f"mean_{layer}"][row] = features[row].mean[layer]
            columns[f"std_{layer}"][row] = features[row].std[layer]
    frames = {}
    for layer in wanted.frames:
        parts = [one.sequences.get(layer, np.zeros((0, record.layers[layer]))).astype(dtype) for one in features]
        values_TD = np.concatenate(parts) if parts else np.zeros((0, record.layers[layer]), dtype)
        frames[layer] = Frames(values_TD, np.cumsum([0, *map(len, parts)], dtype=np.int64))
    return EncoderFeatures(record.key, record.modality, wanted.layers, present_N, columns, frames)


def _empty_columns(record: EncoderRecord, wanted: WantedLayers, num_clips: int) -> dict[str, StoredArray]:
    dtype = np.dtype(record.dtype)
    return {f"{kind}_{layer}": np.zeros((num_clips, record.layers[layer]), dtype) for layer in wanted.pooled for kind in ("mean", "std")}


def absent_features(record: EncoderRecord, wanted: WantedLayers, num_clips: int) -> EncoderFeatures:
    """The features of an encoder whose modality no clip has."""
    return _stack(record, wanted, [Features(0, 0.0)] * num_clips)


def read_clip_features(
    store_url: str, corpus: str, records: Mapping[str, EncoderRecord], wanted: Mapping[str, WantedLayers], clip_ids: Sequence[str]
) -> ClipFeatures:
    """What a store holds of the clips; what it lacks counts as absent.

    Raises:
        StoreError: the store cannot be read.

    """
    store = open_store(store_url)
    stored = {record.key for record in list_encoders(store, corpus)}
    by_key: dict[str, EncoderFeatures] = {}
    faults: dict[str, list[str]] = {}
    snr_db: dict[str, FloatArray] = {}
    for key, record in records.items():
        if key not in stored:
            by_key[key] = absent_features(record, wanted[key], len(clip_ids))
            continue
        if record.adds_noise:
            ratios = read_snr(store, corpus, record).by_clip
            snr_db[key] = np.array([ratios.get(clip_id, np.nan) for clip_id in clip_ids], np.float32)
        read = read_encoder_features(store, corpus, record, wanted[key], clip_ids)
        by_key[key] = read.features
        for clip_id, message in read.failed.items():
            faults.setdefault(clip_id, []).append(message)
        for clip_id in read.missing:
            faults.setdefault(clip_id, []).append(f"{store.url} has no features of {key}")
    return ClipFeatures(by_key, faults, snr_db)
