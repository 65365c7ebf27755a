"""Manifest and store -> TrainingData."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.batching import EncoderFeatures, Stream, StreamConfig, build_streams
from mer_ray.core.batch import TaskSpec
from mer_ray.core.errors import RunError
from mer_ray.core.manifest import read_manifest
from mer_ray.core.media_types import FloatArray
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.layout import Store, open_store
from mer_ray.store.record import EncoderRecord
from mer_ray.training.config import FoldsProtocol, SplitsProtocol, TrainConfig
from mer_ray.training.degraded_copies import attach, read_copies, refuse_unlike
from mer_ray.training.encoder_features import read_encoder_features, wanted_layers
from mer_ray.training.training_data import IntArray, TrainingData


def load_training_data(config: TrainConfig) -> TrainingData:
    """Read the clips that the protocol uses, their labels and their features.

    Raises:
        ConfigError: inputs name layers that the store does not have.
        ManifestError, StoreError: the manifest or the store cannot be read, or it has no copy that an input is augmented with.
        RunError: no clips for this protocol, no classes, or clips whose features were never extracted.

    """
    clips = read_clips(config)
    streams, num_failed = _read_streams(config, clips.corpus, clips.clip_ids)
    return with_streams(clips, streams, num_failed, config.store)


class ClipSettings(Protocol):
    """What a config says of its clips and their labels."""

    @property
    def manifest(self) -> Path:
        """Where they are listed."""

    @property
    def protocol(self) -> FoldsProtocol | SplitsProtocol:
        """Which of them take part."""

    @property
    def values(self) -> Sequence[str]:
        """The values to predict."""


def read_clips(config: ClipSettings) -> TrainingData:
    """The clips that the protocol uses, with their labels and without any stream.

    Raises:
        ManifestError: the manifest cannot be read.
        RunError: no clips for this protocol, or no classes.

    """
    manifest = read_manifest(config.manifest)
    rows = _used_rows(manifest.table, config.protocol)
    classes = manifest.facts.classes
    if rows.num_rows == 0 or not classes:
        if not classes:
            raise RunError(
                f"{config.manifest}: has no emotion labels, so there are no classes to train on; label clips in the corpus's table"
            )
        wanted = (
            "has no folds; make it again with folds" if isinstance(config.protocol, FoldsProtocol) else "has none of the protocol's splits"
        )
        raise RunError(f"{config.manifest}: {wanted}, or choose another protocol (protocol.name=folds or splits)")
    return TrainingData(
        corpus=manifest.facts.corpus,
        task=TaskSpec(classes, tuple(config.values)),
        clip_ids=rows["clip_id"].to_pylist(),
        speaker_ids=rows["speaker_id"].to_pylist(),
        splits=rows["split"].to_pylist(),
        folds_N=rows["fold"].fill_null(-1).to_numpy().astype(np.int64),
        emotion_N=emotion_numbers(rows["emotion"], classes),
        values={name: rows[name].cast(pa.float32()).fill_null(float("nan")).to_numpy() for name in config.values},
        streams=[],
        emotion_probs_NC=soft_labels(rows, classes),
        label_maps=manifest.facts.label_maps,
        corrections=manifest.facts.corrections,
    )


def with_streams(clips: TrainingData, streams: list[Stream], num_failed: dict[str, int], store: str) -> TrainingData:
    """The clips with what a model reads of them; `num_failed[encoder]` of them could not be extracted.

    Raises:
        RunError: features that are not finite, or no clip that has any.

    """
    for stream in streams:
        for one in (stream, *stream.copies):
            _refuse_not_finite(one, clips.clip_ids, store)
    if not any(stream.present_N.any() for stream in streams):
        raise RunError(
            f"{store}: none of the {clips.num_clips} clips has any of the inputs {', '.join(stream.spec.name for stream in streams)}; "
            "take inputs that this corpus has, or extract them"
        )
    return replace(clips, streams=streams, num_failed=num_failed)


def _used_rows(table: pa.Table, protocol: FoldsProtocol | SplitsProtocol) -> pa.Table:
    if isinstance(protocol, FoldsProtocol):
        return table.filter(pc.is_valid(table["fold"]))
    names = [protocol.train, *([protocol.dev] if protocol.dev else []), *protocol.test]
    return table.filter(pc.is_in(table["split"], pa.array(names, pa.string())))


def emotion_numbers(emotion: pa.ChunkedArray, classes: tuple[str, ...]) -> IntArray:
    """The class number of each clip (N,), -1 = unknown.

    Raises:
        RunError: an emotion outside of the classes.

    """
    numbers = pc.index_in(emotion, pa.array(classes, pa.string()))
    unknown = pc.unique(emotion.filter(pc.and_(pc.is_null(numbers), pc.is_valid(emotion)))).to_pylist()
    if unknown:
        raise RunError(f"the manifest has emotions {', '.join(unknown)} outside its classes {', '.join(classes)}; make it anew")
    result: IntArray = numbers.fill_null(-1).to_numpy().astype(np.int64)
    return result


def soft_labels(rows: pa.Table, classes: tuple[str, ...]) -> FloatArray | None:
    """Soft labels (N, C), one-hot where a clip has only a class, zeros where it has none; None without any soft label."""
    soft = rows["emotion_probs"].to_pylist()
    if all(probs is None for probs in soft):
        return None
    emotion_N = emotion_numbers(rows["emotion"], classes)
    return np.stack([_soft_label(probs, int(number), len(classes)) for probs, number in zip(soft, emotion_N, strict=True)])


def _soft_label(probs: Sequence[float] | None, number: int, num_classes: int) -> FloatArray:
    if probs is not None:
        return np.asarray(probs, dtype=np.float32)
    one_hot_C = np.zeros(num_classes, dtype=np.float32)
    if number >= 0:
        one_hot_C[number] = 1.0
    return one_hot_C


def _read_streams(config: TrainConfig, corpus: str, clip_ids: list[str]) -> tuple[list[Stream], dict[str, int]]:
    store = open_store(config.store)
    records = [resolve_encoder(store, corpus, stream.encoder) for stream in config.inputs]
    refuse_unlike([(stream, record.modality) for stream, record in zip(config.inputs, records, strict=True)])
    found, num_failed = [], {}
    for stream, record in zip(config.inputs, records, strict=True):
        features, failed = _read_features(store, corpus, stream, record, clip_ids)
        found.append(features)
        if failed:
            num_failed[features.encoder] = failed
    clean = iter(build_streams(config.inputs, found))
    streams = []
    for stream, record, features in zip(config.inputs, records, found, strict=True):
        copies = read_copies(store, corpus, stream, record, clip_ids)
        own = itertools.islice(clean, len(features.layers) if stream.combine == "separate" else 1)
        streams += [attach(one, [copy[number] for copy in copies]) for number, one in enumerate(own)]
    return streams, num_failed


def _read_features(
    store: Store, corpus: str, config: StreamConfig, record: EncoderRecord, clip_ids: list[str]
) -> tuple[EncoderFeatures, int]:
    """The features of all clips, and how many of them failed."""
    read = read_encoder_features(store, corpus, record, wanted_layers(config, record), clip_ids)
    if read.missing:
        raise RunError(
            f"{store.url}: {record.key} lacks features of {len(read.missing)} of {len(clip_ids)} clips (one is {read.missing[0]!r}); "
            f"run `mer-ray extract` with this manifest, store and encoder"
        )
    return read.features, len(read.failed)


def _refuse_not_finite(stream: Stream, clip_ids: Sequence[str], store: str) -> None:
    rows: IntArray = np.flatnonzero(~np.isfinite(stream.x_RD).all(axis=1))
    if not len(rows):
        return
    numbers = rows if stream.offsets_N1 is None else np.searchsorted(stream.offsets_N1, rows, side="right") - 1
    bad = [clip_ids[number] for number in dict.fromkeys(numbers.tolist())]
    raise RunError(
        f"{store}: features of {stream.encoder} ({stream.spec.name}) are not finite (NaN or infinite) for {len(bad)} of {len(clip_ids)} "
        f"clips (one is {bad[0]!r}); extract these anew, or train without this input"
    )
