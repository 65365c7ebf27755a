"""Clips and features of a whole search, read once: every encoder and layer that any trial may take.

Shapes: N clips, D feature dimension of a layer.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mer_ray.batching import EncoderFeatures, StreamConfig, build_streams
from mer_ray.core.config import digest_of, parse_config
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.manifest import read_manifest
from mer_ray.core.progress import track
from mer_ray.store.catalog import list_encoders, resolve_encoder
from mer_ray.store.encoder_cost import EncoderCost, find_cost
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord
from mer_ray.training.config import TrainConfig
from mer_ray.training.encoder_features import WantedLayers, read_encoder_features, wanted_layers
from mer_ray.training.loading import read_clips
from mer_ray.training.training_data import TrainingData
from mer_ray.tuning.space import find_mappings, possible_values


@dataclass(frozen=True)
class SearchData:
    """`clips` without streams, and by the name that inputs give it each encoder's record, features and measured cost."""

    clips: TrainingData
    records: dict[str, EncoderRecord]
    features: dict[str, EncoderFeatures]
    num_failed: dict[str, int]
    costs: dict[str, EncoderCost | None]

    def of(self, config: TrainConfig) -> TrainingData:
        """What a training of this config reads.

        Raises:
            ConfigError: layers that cannot be joined.

        """
        wanted = [wanted_layers(stream, self.records[stream.encoder]) for stream in config.inputs]
        found = [_only(self.features[stream.encoder], layers) for stream, layers in zip(config.inputs, wanted, strict=True)]
        num_failed = {one.encoder: self.num_failed[one.encoder] for one in found if one.encoder in self.num_failed}
        return replace(self.clips, streams=build_streams(config.inputs, found, in_place=True), num_failed=num_failed)

    def digest(self) -> str:
        """The sha256 (hex) of clips, labels and features: a search goes on with the same only."""
        features = {name: [one.encoder, _content(one)] for name, one in self.features.items()}
        return digest_of([self.clips.digest(), features])

    @property
    def layers(self) -> dict[str, list[str]]:
        """The names of each encoder's layers, in order."""
        return {name: list(record.layers) for name, record in self.records.items()}

    @property
    def num_bytes(self) -> int:
        """What the features take in memory."""
        arrays = [array for one in self.features.values() for array in _arrays(one).values()]
        return sum(array.nbytes for array in arrays)


def read_search_data(raw: Mapping[str, Any], config: TrainConfig, where: str) -> SearchData:
    """Read all that trials may take; `raw` is the training's config with its searched values, `config` one draw of it.

    Raises:
        ConfigError: inputs name layers that the store does not have.
        ManifestError, StoreError: manifest or store cannot be read.
        RunError: clips whose features were never extracted, or are not finite.

    """
    clips = read_clips(config)
    store = open_store(config.store)
    records: dict[str, EncoderRecord] = {}
    wanted: dict[str, WantedLayers] = {}
    for stream in _possible_streams(raw, where):
        record = records.setdefault(stream.encoder, resolve_encoder(store, clips.corpus, stream.encoder))
        wanted[stream.encoder] = wanted_layers(stream, record).joined(wanted.get(stream.encoder, WantedLayers()))
    features, num_failed = {}, {}
    with track("read features", len(records), "encoders") as bar:
        for name, record in records.items():
            read = read_encoder_features(store, clips.corpus, record, wanted[name], clips.clip_ids)
            if read.missing:
                raise RunError(
                    f"{store.url}: {record.key} lacks features of {len(read.missing)} of {clips.num_clips} clips (one is "
                    f"{read.missing[0]!r}); run `mer-ray extract` with this manifest, store and encoder"
                )
            features[name] = read.features
            _refuse_not_finite(read.features, clips.clip_ids, store.url)
            if read.failed:
                num_failed[record.key] = len(read.failed)
            bar.advance()
    costs = {name: find_cost(store, clips.corpus, record.key) for name, record in records.items()}
    return SearchData(clips, records, features, num_failed, costs)


def check_layers(raw: Mapping[str, Any], config: TrainConfig, where: str) -> None:
    """Refuse layers that the store's encoders do not have, where the store is there already; reads no features.

    Raises:
        ConfigError, StoreError: names the encoder or the layer.

    """
    corpus = read_manifest(config.manifest).facts.corpus if config.manifest.is_file() else None
    store = open_store(config.store)
    if corpus is None or not list_encoders(store, corpus):
        return
    for stream in _possible_streams(raw, where):
        wanted_layers(stream, resolve_encoder(store, corpus, stream.encoder))


def _possible_streams(raw: Mapping[str, Any], where: str) -> list[StreamConfig]:
    """One stream per place that names an encoder, with every layer and statistic that it may take."""
    streams = []
    for place in find_mappings(raw, "encoder"):
        if place.get("augment"):
            raise ConfigError(f"{where}: inputs: augment: trials read clean features only; search without it, and train the best with it")
        layers = [layer for layer in possible_values(place.get("layers", "all")) if layer is not None]
        statistics = list(dict.fromkeys(possible_values(place.get("statistics", ["mean", "std"]))))
        for frames in dict.fromkeys(possible_values(place.get("frames", False))):
            data = {"encoder": place["encoder"], "layers": "all" if "all" in layers else list(dict.fromkeys(layers))}
            more = {"frames": True} if frames else {"statistics": statistics}
            streams.append(parse_config(StreamConfig, {**data, **more}, where, prefix="inputs, "))
    if not streams:
        raise ConfigError(f"{where}: inputs: required; name encoders of the store")
    return streams


def _only(features: EncoderFeatures, wanted: WantedLayers) -> EncoderFeatures:
    columns = {f"{statistic}_{layer}" for statistic in wanted.statistics for layer in wanted.pooled}
    return replace(
        features,
        layers=wanted.layers,
        columns={name: column_ND for name, column_ND in features.columns.items() if name in columns},
        frames={layer: features.frames[layer] for layer in wanted.frames},
    )


def _arrays(features: EncoderFeatures) -> dict[str, Any]:
    frames = {f"frames of {layer}": one.values_TD for layer, one in features.frames.items()}
    return {**features.columns, **frames}


def _content(features: EncoderFeatures) -> str:
    digest = hashlib.sha256(np.packbits(features.present_N).tobytes())
    for name, array in sorted(_arrays(features).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _refuse_not_finite(features: EncoderFeatures, clip_ids: list[str], store: str) -> None:
    for name, column_ND in features.columns.items():
        bad_N = ~np.isfinite(column_ND).all(axis=1) & features.present_N
        if bad_N.any():
            raise RunError(
                f"{store}: {name} of {features.encoder} is not finite for {int(bad_N.sum())} of {len(clip_ids)} clips (one is "
                f"{clip_ids[int(np.argmax(bad_N))]!r}); extract these anew, or search without this layer"
            )
    for layer, frames in features.frames.items():
        if not np.isfinite(frames.values_TD).all():
            raise RunError(f"{store}: frames of {layer} of {features.encoder} are not all finite; extract them anew, or leave them out")
