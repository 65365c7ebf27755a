"""What a store holds of one encoder, for the clips and layers that are wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mer_ray.batching import EncoderFeatures, Frames, StreamConfig, pick_layers
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import Store
from mer_ray.store.reader import PooledFeatures, SequenceFeatures, StoredArray, read_pooled, read_sequences
from mer_ray.store.record import EncoderRecord
from mer_ray.store.schemas import Statistic


@dataclass(frozen=True)
class EncoderRead:
    """What a store holds of one encoder: `failed` clips with their reasons, and clips that are `missing`, count as absent in `features`."""

    features: EncoderFeatures
    failed: dict[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class WantedLayers:
    """What is read of one encoder: layers pooled by `statistics`, and layers frame by frame."""

    pooled: tuple[str, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    frames: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.pooled, *self.frames)))

    def joined(self, other: "WantedLayers") -> "WantedLayers":
        """What either wants."""
        statistics = tuple(dict.fromkeys((*self.statistics, *other.statistics)))
        return WantedLayers(_either(self.pooled, other.pooled), statistics, _either(self.frames, other.frames))


def _either(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def wanted_layers(config: StreamConfig, record: EncoderRecord) -> WantedLayers:
    """What a stream reads of its encoder.

    Raises:
        ConfigError: layers that the encoder does not have, or whose frames were not kept.

    """
    layers = pick_layers(config, record.key, list(record.layers), record.sequences)
    return WantedLayers(frames=layers) if config.frames else WantedLayers(layers, tuple(config.statistics))


def features_of_no_clip(record: EncoderRecord, wanted: WantedLayers) -> EncoderFeatures:
    """What an encoder gives, with the sizes that its record names and no clip in it."""
    empty = {layer: np.zeros((0, record.layers[layer]), dtype=np.float32) for layer in wanted.layers}
    columns = {f"{statistic}_{layer}": empty[layer] for statistic in wanted.statistics for layer in wanted.pooled}
    frames = {layer: Frames(empty[layer], np.zeros(1, dtype=np.int64)) for layer in wanted.frames}
    return EncoderFeatures(record.key, record.modality, wanted.layers, np.zeros(0, dtype=bool), columns, frames)


def read_encoder_features(store: Store, corpus: str, record: EncoderRecord, wanted: WantedLayers, clip_ids: Sequence[str]) -> EncoderRead:
    """Features of clips, in their order; where a clip's newest row is a failure, older features are of other media.

    Raises:
        StoreError: the store cannot be read.

    """
    found: list[PooledFeatures | SequenceFeatures] = []
    columns: Mapping[str, StoredArray] = {}
    frames: dict[str, Frames] = {}
    if wanted.pooled:
        pooled = read_pooled(store, corpus, record, wanted.pooled, wanted.statistics, clip_ids)
        found, columns = [pooled], pooled.columns
    if wanted.frames:
        sequences = read_sequences(store, corpus, record, wanted.frames, clip_ids)
        found.append(sequences)
        frames = {layer: Frames(sequences.values[layer], sequences.offsets[layer]) for layer in wanted.frames}
    rows = read_failures(store, corpus, record.key)
    reasons = dict(zip(rows["clip_id"].to_pylist(), rows["message"].to_pylist(), strict=True))
    failed = {clip_id: reasons[clip_id] for clip_id in clip_ids if clip_id in reasons}
    present_N = found[0].present & np.array([clip_id not in failed for clip_id in clip_ids], dtype=bool)
    features = EncoderFeatures(record.key, record.modality, wanted.layers, present_N, columns, frames)
    return EncoderRead(features, failed, tuple(clip_id for clip_id in found[0].missing if clip_id not in failed))
