"""The verb `finetune`: labelled clips and an encoder -> adapters for `extract`, scores, suspected labels."""

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mer_ray.core import artefacts
from mer_ray.core.artefacts import digest_file, write_json, write_text
from mer_ray.core.cluster_address import is_on_cluster
from mer_ray.core.config import identity_of
from mer_ray.core.manifest import read_manifest
from mer_ray.core.media_types import Clip
from mer_ray.core.table import Table
from mer_ray.encoders import encoder_identity
from mer_ray.encoders._cross_fit import FACTS_FILE, HEAD_FILE, CrossFitFacts
from mer_ray.encoders._pretrained import PretrainedEncoderConfig
from mer_ray.encoders._weights import ADAPTER_WEIGHTS
from mer_ray.extraction.inputs import input_hash, source_path, stamp_files
from mer_ray.extraction.plan import check_detector
from mer_ray.finetuning.checks import check_encoder, check_fits
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.fits import HELD_OUT, Fit, adapter_of, choose_fits
from mer_ray.finetuning.folder import FinetuneFolder
from mer_ray.finetuning.inputs import ClipInputs, decode_all, write_failures
from mer_ray.finetuning.label_errors import label_errors_csv
from mer_ray.finetuning.learner import FinetuneWorker, build_network
from mer_ray.finetuning.run_fits import run_finetuning
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import FoldsProtocol
from mer_ray.training.loading import read_clips
from mer_ray.training.predictions_table import write_table
from mer_ray.training.scoring import score_splits
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import choose_device, precision_on


@dataclass(frozen=True)
class FinetuneSummary:
    """A finished fine-tuning: `facts` is run.json, `scores` the splits of scores.json; `was_complete` where nothing was left to do."""

    folder: Path
    facts: dict[str, Any]
    scores: dict[str, Any]
    was_complete: bool

    def tables(self) -> list[Table]:
        """Scores of held-out clips, and where the adapters lie."""
        metrics = list(dict.fromkeys(name for split in self.scores.values() for name in split["mean"]))
        columns = tuple(f"{name}, {split['num_clips']} clips" for name, split in self.scores.items())
        rows = tuple((metric, *[split["mean"].get(metric) for split in self.scores.values()]) for metric in metrics)
        complete = [f"{self.folder} was complete already; nothing was trained"] if self.was_complete else []
        notes = [
            f"each clip by a network that was not trained on its label; protocol: {self.facts['protocol']}",
            f"{self.facts['num_label_errors']} labels are suspected: {self.folder / 'label_errors.csv'}",
            f"adapters: give the encoder of `extract` adapter: {self.folder / 'adapter'}",
            *self.facts["notes"],
        ]
        return [Table(f"{self.facts['name']} ({self.facts['corpus']})", ("metric", *columns), rows, (*complete, *notes))]


@dataclass(frozen=True)
class Preparation:
    """What is known before anything is decoded."""

    config: FinetuneConfig
    data: TrainingData
    fits: list[Fit]
    inputs: ClipInputs
    identity: str


def finetune(config: FinetuneConfig) -> FinetuneSummary:
    """Decode the clips once, train a network per fold and one on all, and write their adapters; resumes what lies in `out`.

    Raises:
        ConfigError, EncoderError: the encoder cannot be trained so, or its weights are missing.
        ManifestError: the manifest cannot be read, or has too few speakers for folds.
        RunError: `out` holds another run, labels are lacking, too many clips fail, or a loss is no longer finite.
        ClusterError: Ray cannot give `num_workers`.

    """
    start_s = time.monotonic()
    prepared = prepare(_with_known_precision(config))
    config, folder = prepared.config, FinetuneFolder(prepared.config.out)
    folder.open(config, prepared.identity, _describe(prepared))
    if folder.run.is_complete:
        return FinetuneSummary(folder.root, folder.run.read_facts(), folder.run.read_scores()["splits"], was_complete=True)
    if not all(folder.fit(fit.name).is_finished for fit in prepared.fits):
        _train(prepared, folder)
    return _finish(prepared, folder, start_s)


def prepare(config: FinetuneConfig) -> Preparation:
    """All that can be found out, and refused, without decoding, weights or Ray.

    Raises:
        ConfigError, EncoderError, ManifestError, RunError: as `finetune`.

    """
    config = config.model_copy(update={"manifest": config.manifest.resolve(), "out": config.out.resolve()})
    check_encoder(config)
    check_detector(config.encoder.input_format)
    data = read_clips(config)
    fits = choose_fits(config, data)
    check_fits(config, data, fits)
    by_id = {clip.clip_id: clip for clip in read_manifest(config.manifest).clips()}
    clips = [by_id[clip_id] for clip_id in data.clip_ids]
    hashes = _input_hashes(config, clips)
    identity = identity_of(config, data=data.digest(), weights=config.encoder.weights_digest(), inputs=hashes, precision=config.precision)
    FinetuneFolder(config.out).refuse_other(config, identity)
    names = [hashlib.sha256(f"{clip.clip_id}|{one}".encode()).hexdigest()[:24] for clip, one in zip(clips, hashes, strict=True)]
    inputs = ClipInputs(clips, names, config.encoder.input_format, config.limits, FinetuneFolder(config.out).inputs)
    return Preparation(config, data, fits, inputs, identity)


def _input_hashes(config: FinetuneConfig, clips: Sequence[Clip]) -> list[str]:
    wanted = config.encoder.input_format
    stamps = stamp_files(path for clip in clips if (path := source_path(clip, wanted)) is not None)
    return [input_hash(clip, wanted, stamps) for clip in clips]


def _runs_on_ray(config: FinetuneConfig) -> bool:
    """With several workers, or where a cluster is named: the machine of this process may have no GPU."""
    return config.num_workers > 1 or is_on_cluster()


def _with_known_precision(config: FinetuneConfig) -> FinetuneConfig:
    """`precision: auto` as the type that the workers will use."""
    if config.precision != "auto":
        return config
    device_type = choose_device(config).type
    if _runs_on_ray(config) and config.device != "cpu":
        # Ray is loaded where it is used only.
        from mer_ray.training.ray_resources import find_device_type

        device_type = find_device_type(config)
    return config.model_copy(update={"precision": precision_on(config, device_type)})


def _train(prepared: Preparation, folder: FinetuneFolder) -> None:
    config, data = prepared.config, prepared.data
    # It says what it can read; loaded before anything is decoded, so that weights that are missing are told at once.
    encoder = build_network(config, "cpu" if _runs_on_ray(config) else str(choose_device(config)))
    found = decode_all(prepared.inputs, encoder, config)
    del encoder
    write_failures(folder.root / "failures.json", found)
    usable_N = np.array(found.usable, bool)
    fits = [fit.only(usable_N) for fit in prepared.fits]
    check_fits(config, data, fits)
    write_json(
        folder.run.facts_path, {**folder.run.read_facts(), "notes": _notes(found.failed, found.lacking, found.num_cached, len(usable_N))}
    )
    if _runs_on_ray(config):
        # Ray is loaded where it is used only.
        from mer_ray.finetuning.ray_finetune import run_finetuning_on_ray

        run_finetuning_on_ray(config, data, prepared.inputs, folder, fits)
        return
    run_finetuning(config, FinetuneWorker(data, prepared.inputs, Communicator(), choose_device(config)), folder, fits)


def _notes(failed: dict[str, str], lacking: int, num_cached: int, num_clips: int) -> list[str]:
    notes = [f"{len(failed)} of {num_clips} clips cannot be read (failures.json): no network was trained on them"] if failed else []
    notes += [f"{lacking} of {num_clips} clips have not what the encoder reads: no network was trained on them"] if lacking else []
    over = num_clips - len(failed) - lacking - num_cached
    return [*notes, f"{over} clips did not fit into cache_gb and were decoded each epoch"] if over else notes


def _finish(prepared: Preparation, folder: FinetuneFolder, start_s: float) -> FinetuneSummary:
    """Pool the predictions of held-out clips, score them, list suspected labels, describe the adapters, and mark all as complete."""
    config, data = prepared.config, prepared.data
    pooled = pa.concat_tables([own.predictions() for fit in prepared.fits if fit.partition.test for own in [folder.fit(fit.name)]])
    by_folds = isinstance(config.protocol, FoldsProtocol)
    if not by_folds:
        # The dev split stops every fit; its predictions are those of the network that predicts the test splits.
        is_own = pc.or_(pc.not_equal(pooled["split"], "dev"), pc.is_null(pooled["fold"]))
        pooled = pooled.filter(is_own)
    tables = {split: pooled.filter(pc.equal(pooled["split"], split)) for split in dict.fromkeys(pooled["split"].to_pylist())}
    for split, table in tables.items():
        write_table(folder.run.predictions_path(split), table)
    held_out = tables.get("test" if by_folds else HELD_OUT)
    text, num_errors = label_errors_csv(held_out, data.task.classes) if held_out is not None else ("", 0)
    write_text(folder.root / "label_errors.csv", text)
    _describe_adapters(prepared, folder)
    scores = {**score_splits(tables, data.task), "calibration": None}
    facts = {**folder.run.read_facts(), "num_label_errors": num_errors, "seconds": time.monotonic() - start_s}
    write_json(folder.run.facts_path, facts)
    shutil.rmtree(folder.inputs, ignore_errors=True)
    write_json(folder.run.scores_path, scores)
    return FinetuneSummary(folder.root, facts, scores["splits"], was_complete=False)


def _describe_adapters(prepared: Preparation, folder: FinetuneFolder) -> None:
    config, data = prepared.config, prepared.data
    encoder = config.encoder
    assert isinstance(encoder, PretrainedEncoderConfig)
    facts = CrossFitFacts(
        **encoder.trained_as(),
        method=config.method.model_dump(mode="json"),
        lora_scale=config.method.scale,
        corpus=data.corpus,
        classes=data.task.classes,
        follows_folds=isinstance(config.protocol, FoldsProtocol),
        adapter_of=adapter_of(prepared.fits, data),
        files={fit.name: digest_file(folder.adapter / fit.name / ADAPTER_WEIGHTS) for fit in prepared.fits},
        heads={fit.name: digest_file(folder.adapter / fit.name / HEAD_FILE) for fit in prepared.fits},
        head_reads=last_layer(encoder),
        head_dim=len(data.task.classes) + len(data.task.values),
    )
    write_text(folder.adapter / FACTS_FILE, facts.model_dump_json(indent=1) + "\n")


def _describe(prepared: Preparation) -> dict[str, Any]:
    """run.json as it is when the run starts."""
    config, data = prepared.config, prepared.data
    encoder = config.encoder
    trained = trained_parameters(config)
    assert isinstance(encoder, PretrainedEncoderConfig)
    layer, dim = last_layer(encoder), next(iter(encoder.layers().values()))
    return {
        "name": config.out.name,
        "identity": prepared.identity,
        "versions": artefacts.versions(),
        "git_revision": artefacts.git_revision(),
        "seeds": [config.seed],
        "folds": [fit.partition.fold for fit in prepared.fits if fit.partition.fold is not None],
        "protocol": f"fine-tuned, {config.protocol.label}",
        "corpus": data.corpus,
        "classes": list(data.task.classes),
        "values": list(data.task.values),
        "label_maps": data.label_maps,
        "corrections": None if data.corrections is None else list(data.corrections),
        "encoder": {"name": encoder.name, "identity": encoder_identity(encoder), "licence": encoder.licence},
        "streams": [
            {"name": f"{encoder.name}_{layer}", "modality": encoder.modality, "dim": dim, "encoder": encoder.name, "layers": [layer]}
        ],
        "normalisation": "none",
        "model": {"name": f"finetuned {encoder.name}", "method": config.method.model_dump(mode="json"), "num_parameters": trained},
        "num_clips": {"all": data.num_clips},
        "notes": [],
        "seconds": None,
        "precision": config.precision,
        "num_workers": config.num_workers,
        "hardware": {**artefacts.hardware(), "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None},
    }


def trained_parameters(config: FinetuneConfig) -> int | None:
    """Parameters that are trained, without the head; None where only code beside the weights knows the network."""
    skeleton = check_encoder(config)
    return None if skeleton is None else config.method.num_trainable(skeleton)


def last_layer(encoder: PretrainedEncoderConfig) -> str:
    """The layer whose mean the head reads, whichever of them the encoder is asked to give."""
    whole = encoder.model_copy(update={"chosen_layers": None}) if hasattr(encoder, "chosen_layers") else encoder
    return [name for name in whole.layers() if name.startswith("layer_")][-1]
