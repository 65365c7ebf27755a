"""A small corpus for tests of training: a real manifest, and a real store with planted features of two encoders."""

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mer_ray.core.config import digest_of
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features, Modality
from mer_ray.store.catalog import list_encoders
from mer_ray.store.layout import open_store
from mer_ray.store.reader import SequenceFeatures, read_pooled, read_sequences
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow, write_failures, write_features
from mer_ray.training import TrainConfig

CLASSES = ("neutral", "angry", "happy")
LAYERS = {"tone": {"low": 5, "high": 7}, "face": {"last": 6}}
MODALITIES: dict[str, Modality] = {"tone": "audio", "face": "vision"}


@dataclass(frozen=True)
class TrainingCorpus:
    """Where manifest and store lie, and the rows of the manifest."""

    folder: Path
    rows: list[dict[str, Any]]

    def config(self, out: str = "run", **changes: Any) -> TrainConfig:
        """A config that trains in a moment."""
        values = {
            "manifest": self.folder / "manifest.parquet",
            "store": str(self.folder / "store"),
            "out": self.folder / out,
            "inputs": [{"encoder": "tone"}, {"encoder": "face"}],
            "model": {"name": "attention", "hidden": 16, "dropout": 0.2},
            "values": ["valence"],
            "epochs": 6,
            "batch_size": 16,
            "learning_rate": 2e-2,
            "device": "cpu",
        }
        return TrainConfig.model_validate(values | changes)


def make_corpus(
    folder: Path,
    *,
    num_clips: int = 61,
    num_folds: int = 4,
    noise: float = 0.8,
    failed: tuple[int, ...] = (),
    left_out: tuple[int, ...] = (),
    change: dict[int, dict[str, Any]] | None = None,
    frames: bool = False,
) -> TrainingCorpus:
    """Write it; with `frames` the store keeps those of the last layers, 1 to 6 a clip, around the clip's means.

    Clips of `failed` have a failure row in the encoder `face`, those of `left_out` no row there.

    Every seventh clip has no picture, every fifth no valence; speakers are folds; splits train, dev, test. `change` alters manifest rows.
    """
    random = np.random.default_rng(7)
    labels_N = random.permutation(np.arange(num_clips) % len(CLASSES))
    rows = [_row(number, int(label), num_folds, random) for number, label in enumerate(labels_N)]
    for number, changes in (change or {}).items():
        rows[number] |= changes
    facts = ManifestFacts(corpus="planted", classes=CLASSES, root="/", value_ranges={"valence": (-5.0, 5.0)})
    write_manifest(Manifest(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), facts), folder / "manifest.parquet")
    store = open_store(folder / "store")
    for name, layers in LAYERS.items():
        kept_layer = list(layers)[-1] if frames else None
        record = _record(name, layers, () if kept_layer is None else (kept_layer,))
        features = [
            _features(layers, int(label), noise, random, name == "face" and number % 7 == 0) for number, label in enumerate(labels_N)
        ]
        if kept_layer is not None:
            features = [_with_frames(one, kept_layer, np.random.default_rng(number)) for number, one in enumerate(features)]
        skipped = {*failed, *left_out} if name == "face" else set()
        kept = [FeatureRow(rows[number]["clip_id"], "hash", one) for number, one in enumerate(features) if number not in skipped]
        write_features(store, "planted", record, kept)
        if name == "face" and failed:
            write_failures(store, "planted", record.key, [_failure(rows[number]["clip_id"]) for number in failed])
    return TrainingCorpus(folder, rows)


def add_copy(
    corpus: TrainingCorpus, name: str, degrade: dict[str, Any], *, failed: tuple[int, ...] = (), left_out: tuple[int, ...] = ()
) -> str:
    """Give the store a degraded copy of an encoder; its features are the clean ones plus 100. Its key."""
    store = open_store(corpus.folder / "store")
    (clean,) = [one for one in list_encoders(store, "planted") if one.name == name and one.degrade is None]
    ids = [row["clip_id"] for row in corpus.rows]
    identity = digest_of(["test encoder", name, degrade])
    full = DegradationConfig.model_validate(degrade).model_dump(mode="json")
    copy = {"key": encoder_key(name, identity), "identity": identity, "config": clean.config | {"degrade": full}}
    record = clean.model_copy(update=copy)
    pooled = read_pooled(store, "planted", clean, list(clean.layers), ("mean", "std"), ids)
    frames = read_sequences(store, "planted", clean, clean.sequences, ids) if clean.sequences else None
    rows = []
    for number, clip_id in enumerate(ids):
        mean, std = (
            {layer: pooled.columns[f"{kind}_{layer}"][number].astype(np.float32) for layer in clean.layers} for kind in ("mean", "std")
        )
        sequences = {} if frames is None else {layer: _rows_of(frames, layer, number) + 100 for layer in clean.sequences}
        features = Features(3, 0.02, {layer: vector_D + 100 for layer, vector_D in mean.items()}, std, sequences)
        if number not in (*failed, *left_out):
            rows.append(FeatureRow(clip_id, "hash", features if pooled.present[number] else Features(0, 0.0)))
    write_features(store, "planted", record, rows)
    if failed:
        write_failures(store, "planted", record.key, [_failure(ids[number]) for number in failed])
    return record.key


def _rows_of(frames: SequenceFeatures, layer: str, number: int) -> npt.NDArray[np.float32]:
    offsets = frames.offsets[layer]
    return frames.values[layer][offsets[number] : offsets[number + 1]].astype(np.float32)


def _row(number: int, label: int, num_folds: int, random: np.random.Generator) -> dict[str, Any]:
    fold = number % num_folds
    return dict.fromkeys(MANIFEST_SCHEMA.names) | {
        "clip_id": f"clip{number:03d}",
        "speaker_id": f"speaker{fold}",
        "split": ("train", "train", "dev", "test")[number % 4],
        "fold": fold,
        "emotion": CLASSES[label],
        "valence": None if number % 5 == 0 else float((-0.5, -2.5, 2.0)[label] + random.normal(0, 0.3)),
    }


def _with_frames(features: Features, layer: str, random: np.random.Generator) -> Features:
    if features.num_frames == 0:
        return features
    num_frames = int(random.integers(1, 7))
    frames_TD = features.mean[layer] + random.normal(0, 0.3, (num_frames, len(features.mean[layer]))).astype(np.float32)
    return dataclasses.replace(features, num_frames=num_frames, sequences={layer: frames_TD.astype(np.float32)})


def _record(name: str, layers: dict[str, int], sequences: tuple[str, ...] = ()) -> EncoderRecord:
    identity = digest_of(["test encoder", name])
    return EncoderRecord(
        name=name,
        key=encoder_key(name, identity),
        identity=identity,
        config={"name": name},
        modality=MODALITIES[name],
        layers=layers,
        sequences=sequences,
    )


def _features(layers: dict[str, int], label: int, noise: float, random: np.random.Generator, is_absent: bool) -> Features:
    if is_absent:
        return Features(0, 0.0)
    mean = {layer: random.normal(0, noise, dim).astype(np.float32) for layer, dim in layers.items()}
    for vector_D in mean.values():
        vector_D[label] += 1.5
    std = {layer: np.abs(random.normal(1, 0.1, dim)).astype(np.float32) for layer, dim in layers.items()}
    return Features(3, 0.02, mean, std)


def _failure(clip_id: str) -> FailureRow:
    return FailureRow(clip_id, "hash", "decode", "MediaError", "broken", datetime.datetime.now(datetime.UTC))
