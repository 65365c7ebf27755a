"""What run.json says of a run."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mer_ray.batching import NORMALISE_LABELS
from mer_ray.core import artefacts
from mer_ray.core.plugins import plugin_files
from mer_ray.training.class_means import class_means
from mer_ray.training.config import TrainConfig
from mer_ray.training.protocol import Partition
from mer_ray.training.run_folder import FitFolder, RunFolder
from mer_ray.training.training_data import TrainingData


def describe_run(config: TrainConfig, data: TrainingData, identity: str, found: list[Partition]) -> dict[str, Any]:
    """run.json as it is when the run starts; `seconds` and `chosen` come with its end."""
    folds = [partition.fold for partition in found if partition.fold is not None]
    model = config.model.build(data.specs, data.task)
    return {
        "name": config.out.name,
        "identity": identity,
        "versions": artefacts.versions(),
        "git_revision": artefacts.git_revision(),
        "seeds": config.seeds,
        "folds": folds or None,
        "protocol": config.protocol.label,
        "corpus": data.corpus,
        "classes": list(data.task.classes),
        "values": list(data.task.values),
        "label_maps": data.label_maps,
        "corrections": None if data.corrections is None else list(data.corrections),
        "streams": [
            {
                "name": stream.spec.name,
                "modality": stream.spec.modality,
                "dim": stream.spec.dim,
                "encoder": stream.encoder,
                "layers": list(stream.layers),
                "statistics": list(stream.statistics),
                "kind": "frames" if stream.spec.is_sequence else "pooled",
            }
            for stream in data.streams
        ],
        "normalisation": NORMALISE_LABELS[config.normalise],
        "model": {**config.model.model_dump(mode="json"), "num_parameters": sum(weight.numel() for weight in model.parameters())},
        "plugins": {file.copied_name: file.sha256 for file in plugin_files(config)},
        "class_means": _class_means(data),
        "num_clips": _num_clips(data, found),
        "num_failed": data.num_failed,
        "notes": [*_pairing_notes(config), *notes_on(data, found)],
        "select_metric": config.select_metric if config.candidates else None,
        "chosen": None,
        "seconds": None,
        "precision": config.precision,
        "num_workers": config.num_workers,
        "hardware": {**artefacts.hardware(), "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None},
    }


def _class_means(data: TrainingData) -> dict[str, dict[str, float | None]]:
    """The mean of each value by class over all labelled clips; None for a class without any."""
    found = class_means(data, np.arange(data.num_clips))
    return {
        value: {name: None if mean != mean else mean for name, mean in zip(data.task.classes, means_C.tolist(), strict=True)}
        for value, means_C in found.items()
    }


def facts_of_fits(fits: Sequence[FitFolder]) -> dict[str, Any]:
    """What finished fits learnt, each, and what they cost and lost, on average; no losses where one has no dev clips with a label."""
    summaries = [fit.summary() for fit in fits]
    epochs = [row for summary in summaries for row in summary["history"]]
    learnt = [
        {"fold": summary["history"][0]["fold"], "seed": summary["history"][0]["seed"], **summary["learnt"]}
        for summary in summaries
        if summary.get("learnt")
    ]
    costs = [summary["cost"] for summary in summaries if "cost" in summary]
    cost = {
        "seconds_per_epoch": statistics.fmean(row["seconds"] for row in epochs),
        "epochs": len(epochs) / len(summaries),
        **{name: statistics.fmean(one[name] for one in costs) for name in (costs[0] if costs else ())},
    }
    losses = [one for summary in summaries if (one := summary.get("losses")) is not None and all(map(math.isfinite, one.values()))]
    means = {name: statistics.fmean(one[name] for one in losses) for name in losses[0]} if len(losses) == len(summaries) else None
    return {"learnt": learnt, "cost": cost, "losses": means}


def _num_clips(data: TrainingData, found: list[Partition]) -> dict[str, int]:
    """Clips by split; with folds every clip is tested once, and trains in the other folds."""
    if found[0].fold is not None:
        return {"test": sum(len(partition.test["test"]) for partition in found)}
    splits = {"train": found[0].train, **({} if found[0].dev is None else {"dev": found[0].dev}), **found[0].test}
    return {name: len(rows) for name, rows in splits.items()}


def _pairing_notes(config: TrainConfig) -> list[str]:
    share = config.paired_share
    return [] if share == 1 else [f"paired_share {share:g}: of the training clips with several modalities all others keep one of them"]


def notes_on(data: TrainingData, found: list[Partition]) -> list[str]:
    """What a reader of the scores must know: failed clips, classes that a training part lacks."""
    notes = [
        f"{count} of {data.num_clips} clips failed in the extraction of {encoder}: they count as lacking it"
        for encoder, count in data.num_failed.items()
    ]
    for stream in data.streams:
        num_present = int(stream.present_N.sum())
        if 2 * num_present < data.num_clips:
            notes.append(f"{num_present} of {data.num_clips} clips have the input {stream.spec.name}: it decides little")
    for stream in data.streams:
        if stream.copies:
            keys = ", ".join(copy.encoder for copy in stream.copies)
            notes.append(f"{stream.spec.name}: in each epoch a training clip has its clean features or those of a degraded copy ({keys})")
    if data.also_train_N is not None:
        num_also = int(data.also_train_N.sum())
        notes.append(
            f"{num_also} clips outside the training split train with labels that models gave them: pseudo-labels, which may be wrong"
        )
    for partition in found:
        counts_C = data.class_counts(partition.train)
        absent = [name for name, count in zip(data.task.classes, counts_C, strict=True) if count == 0]
        if absent:
            notes.append(f"{partition.label} has no clip of {', '.join(absent)}: the model cannot learn to predict it")
    return notes


def chosen_candidates(config: TrainConfig, folder: RunFolder, found: list[Partition]) -> list[dict[str, Any]] | None:
    """What the inner loops chose, with all candidates' scores; None without candidates."""
    if not config.candidates:
        return None
    return [folder.read_selection(partition.fold) for partition in found]
