"""The layers of a store, some at a time: what a probe reads.

Shapes: N clips, D features of a pooled layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mer_ray.batching import EncoderFeatures, StoredArray
from mer_ray.core.errors import RunError, StoreError
from mer_ray.core.media_types import BoolArray
from mer_ray.probing.config import Pooling, ProbeConfig
from mer_ray.store.catalog import list_encoders, resolve_encoder
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord
from mer_ray.training.encoder_features import WantedLayers, read_encoder_features

# Bounds the memory of the layers that are read at once.
BYTES_AT_ONCE = 512 * 2**20
STORED_BYTES = {"float16": 2, "float32": 4}


@dataclass(frozen=True)
class Candidate:
    """A pooled layer: `number` is its place from 0, in depth order."""

    encoder: EncoderRecord
    layer: str
    number: int
    pooling: Pooling

    @property
    def dim(self) -> int:
        """D."""
        return self.encoder.layers[self.layer] * (1 + self.pooling.count("+"))

    def values(self, features: EncoderFeatures) -> StoredArray:
        """Its features (N, D)."""
        parts = [features.columns[f"{statistic}_{self.layer}"] for statistic in self.pooling.split("+")]
        return parts[0] if len(parts) == 1 else cast(StoredArray, np.concatenate(parts, axis=1))


def choose_encoders(store: Store, corpus: str, config: ProbeConfig) -> list[EncoderRecord]:
    """The encoders to probe: those of media as they are, or those that the config names.

    Raises:
        StoreError: none, or a name that means none or several.

    """
    if config.encoders != "all":
        return [resolve_encoder(store, corpus, name) for name in config.encoders]
    found = [record for record in list_encoders(store, corpus) if record.degrade is None]
    if not found:
        raise StoreError(f"{store.url}: no features of corpus {corpus}; run `mer-ray extract` first, or give that corpus's manifest")
    return found


def list_candidates(record: EncoderRecord, poolings: Sequence[Pooling]) -> list[Candidate]:
    """All layers of an encoder, each with all poolings."""
    return [Candidate(record, layer, number, pooling) for number, layer in enumerate(record.layers) for pooling in poolings]


def read_layers(
    store: Store, corpus: str, record: EncoderRecord, config: ProbeConfig, clip_ids: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], EncoderFeatures, dict[str, str]]]:
    """Some layers at a time: their names, their features, and the clips that failed in the extraction with their reasons.

    Raises:
        StoreError: the store cannot be read.
        RunError: clips that were never extracted, or features that are not finite.

    """
    for layers in _chunks(record, len(clip_ids) * len(config.statistics)):
        read = read_encoder_features(store, corpus, record, WantedLayers(layers, config.statistics), clip_ids)
        if read.missing:
            raise RunError(
                f"{store.url}: {record.key} lacks features of {len(read.missing)} of {len(clip_ids)} clips (one is {read.missing[0]!r}); "
                "run `mer-ray extract` with this manifest, store and encoder, or leave the encoder out: encoders=[...]"
            )
        _refuse_not_finite(read.features, clip_ids, store)
        yield layers, read.features, read.failed


def _chunks(record: EncoderRecord, num_rows: int) -> Iterator[tuple[str, ...]]:
    chunk: list[str] = []
    num_bytes = 0
    for layer, dim in record.layers.items():
        layer_bytes = num_rows * dim * STORED_BYTES[record.dtype]
        if chunk and num_bytes + layer_bytes > BYTES_AT_ONCE:
            yield tuple(chunk)
            chunk, num_bytes = [], 0
        chunk.append(layer)
        num_bytes += layer_bytes
    yield tuple(chunk)


def _refuse_not_finite(features: EncoderFeatures, clip_ids: Sequence[str], store: Store) -> None:
    present_N: BoolArray = features.present_N
    for column, x_ND in features.columns.items():
        bad_N = ~np.isfinite(x_ND).all(axis=1) & present_N
        if bad_N.any():
            raise RunError(
                f"{store.url}: {column} of {features.encoder} is not finite (NaN or infinite) for {int(bad_N.sum())} of {len(clip_ids)} "
                f"clips (one is {clip_ids[int(np.flatnonzero(bad_N)[0])]!r}); extract these anew, or leave the encoder out: encoders=[...]"
            )
