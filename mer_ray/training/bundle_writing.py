"""A finished run -> its bundle: weights without pickles, and facts enough to predict from raw files anywhere."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from mer_ray.batching import StreamConfig, pick_layers
from mer_ray.core.artefacts import digest_file, versions, write_text
from mer_ray.core.manifest import read_manifest
from mer_ray.core.media_types import FloatArray
from mer_ray.core.plugin_file import PluginFile
from mer_ray.core.plugins import TAG, plugin_files
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.layout import open_store
from mer_ray.store.plugin_source import read_plugin_source
from mer_ray.store.record import EncoderRecord
from mer_ray.training.bundle_facts import (
    ADAPTERS_FOLDER,
    CARD_NAME,
    MEAN_PREFIX,
    MEMBERS_FOLDER,
    MODEL_PREFIX,
    PLUGINS_FOLDER,
    SCALE_PREFIX,
    BundleFacts,
    GroupFacts,
    MemberFacts,
    StreamFacts,
    clip_digest,
    write_bundle_facts,
    write_train_clips,
)
from mer_ray.training.checkpoint import read_checkpoint
from mer_ray.training.config import TrainConfig
from mer_ray.training.held_out import HELD_OUT_NAME, folds_held_out, write_held_out
from mer_ray.training.model_card import write_card
from mer_ray.training.protocol import Partition
from mer_ray.training.run_folder import FitFolder, RunFolder
from mer_ray.training.training_data import TrainingData


def write_bundle(
    config: TrainConfig,
    data: TrainingData,
    folder: RunFolder,
    found: Sequence[Partition],
    scores: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write `<run>/bundle`: every fold's and seed's weights, averaged in prediction.

    `scores` and `facts` are what scores.json and run.json will hold.

    Raises:
        StoreError: the encoders' records are gone from the store.
        RunError: a checkpoint is damaged.

    """
    root = folder.root / "bundle"
    # A half written one of a killed run.
    shutil.rmtree(root, ignore_errors=True)
    (root / MEMBERS_FOLDER).mkdir(parents=True)
    for file in plugin_files(config):
        file.write_to(root / PLUGINS_FOLDER)
    records = [_copy_adapter(_copy_plugin(config, data.corpus, record, root), root) for record in _records(config, data.corpus)]
    fits = [folder.fit_folder(partition.fold, seed) for partition in found for seed in config.seeds]
    dev_decides = config.early_stopping is not None or bool(config.candidates)
    held_out = {clip_digest(data.corpus, data.clip_ids[row]): folds for row, folds in folds_held_out(found, dev_decides).items()}
    write_held_out(root / HELD_OUT_NAME, held_out)
    train_rows = np.unique(np.concatenate([partition.train for partition in found]))
    calibration = scores.get("calibration")
    group = GroupFacts(
        run=facts["name"],
        identity=facts["identity"],
        inputs=tuple(_pinned(stream, record) for stream, record in zip(config.inputs, records, strict=True)),
        streams=tuple(StreamFacts(**asdict(spec)) for spec in data.specs),
        normalise=config.normalise,
        temperature=calibration["temperature"] if calibration else 1.0,
        calibrated_on=_calibrated_on(calibration, config) if calibration else None,
        protocol=facts["protocol"],
        num_trained=len(train_rows),
        num_clips=facts["num_clips"],
        scores={split: split_scores["mean"] for split, split_scores in scores["splits"].items()},
        held_out=HELD_OUT_NAME,
        members=tuple(_write_member(root, fit) for fit in fits),
    )
    corpus = read_manifest(config.manifest).facts
    counts_C = data.class_counts(train_rows)
    bundle = BundleFacts(
        mer_ray=versions()["mer-ray"],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        corpus=data.corpus,
        corpus_licence=corpus.licence,
        classes=data.task.classes,
        values=data.task.values,
        value_ranges={name: corpus.value_ranges[name] for name in data.task.values if name in corpus.value_ranges},
        prior_probs=_shares(counts_C),
        prior_values=tuple(_mean_of_known(data.values[name][train_rows]) for name in data.task.values),
        encoders={record.key: record for record in records},
        groups=(group,),
    )
    write_train_clips(root, [clip_digest(data.corpus, data.clip_ids[row]) for row in train_rows])
    write_text(root / CARD_NAME, write_card(bundle))
    write_bundle_facts(root, bundle)


def _shares(counts_C: FloatArray) -> tuple[float, ...]:
    """Shares of the classes; equal ones where only values were labelled (our choice)."""
    counts_C = counts_C if counts_C.sum() > 0 else np.ones_like(counts_C)
    return tuple((counts_C / counts_C.sum()).tolist())


def _calibrated_on(calibration: Mapping[str, Any], config: TrainConfig) -> str:
    """Which clips the temperature was fitted on, and what else they had decided."""
    return f"{calibration['fitted_on']}{', which also chose the epochs' if config.early_stopping else ''}"


def _mean_of_known(value_N: FloatArray) -> float | None:
    known_N = value_N[~np.isnan(value_N)]
    return float(known_N.mean()) if len(known_N) else None


def _records(config: TrainConfig, corpus: str) -> list[EncoderRecord]:
    store = open_store(config.store)
    return [resolve_encoder(store, corpus, stream.encoder) for stream in config.inputs]


def _copy_plugin(config: TrainConfig, corpus: str, record: EncoderRecord, root: Path) -> EncoderRecord:
    """The record of an encoder; the code of a plug-in goes into the bundle."""
    if record.config.get("name") != TAG:
        return record
    text = read_plugin_source(open_store(config.store), corpus, record.key)
    PluginFile(Path(record.config["file"]), text).write_to(root / PLUGINS_FOLDER)
    return record.model_copy(update={"config": _without_folder(record.config)})


def _copy_adapter(record: EncoderRecord, root: Path) -> EncoderRecord:
    """The record of an encoder whose adapter, which no hub has, lies in the bundle; where it is gone, with its old path."""
    given = record.config.get("adapter")
    if given is None or not Path(given).is_dir():
        return record
    place = f"{ADAPTERS_FOLDER}/{record.key}"
    # Inputs may share an encoder.
    shutil.copytree(given, root / place, dirs_exist_ok=True)
    return record.model_copy(update={"config": record.config | {"adapter": place}})


def _without_folder(config: dict[str, Any]) -> dict[str, Any]:
    """A plug-in's config with the bare name of its file: whoever reads the bundle looks for it among its plug-ins."""
    return config | {"file": Path(config["file"]).name} if config.get("name") == TAG else config


def _pinned(stream: StreamConfig, record: EncoderRecord) -> StreamConfig:
    """The input with the encoder's key and the layers' names, which mean the same in any store; predictions read no degraded copies."""
    layers = pick_layers(stream, record.key, list(record.layers), record.sequences)
    return stream.model_copy(update={"encoder": record.key, "layers": list(layers), "augment": ()})


def _write_member(root: Path, fit: FitFolder) -> MemberFacts:
    best = read_checkpoint(fit.best_path)
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    tensors: dict[str, Tensor] = {
        f"{MODEL_PREFIX}{name}": tensor.clone(memory_format=torch.contiguous_format) for name, tensor in best["model"].items()
    }
    for stream, statistics in best["normalisation"].items():
        tensors[f"{MEAN_PREFIX}{stream}"] = statistics["mean"].contiguous()
        tensors[f"{SCALE_PREFIX}{stream}"] = statistics["scale"].contiguous()
    file = f"{MEMBERS_FOLDER}/{fit.root.name}.safetensors"
    safetensors.torch.save_file(tensors, root / file)
    return MemberFacts(
        file=file,
        sha256=digest_file(root / file),
        model=_without_folder(best["model_config"]),
        fold=best["fold"],
        seed=best["seed"],
        epoch=best["epoch"],
    )
