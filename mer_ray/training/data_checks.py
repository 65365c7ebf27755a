"""What must hold of data, protocol and model before anything is trained."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from mer_ray.batching import Stream, speaker_groups
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.objectives import Outcome, score
from mer_ray.training.config import LOSS, TrainConfig
from mer_ray.training.fitting import loss_settings
from mer_ray.training.pairing import kept_streams
from mer_ray.training.protocol import Partition, inner_partitions
from mer_ray.training.training_data import IntArray, TrainingData


def check_fit(config: TrainConfig, data: TrainingData, found: Sequence[Partition]) -> None:
    """Refuse what would train to nothing, or stop in the middle.

    Raises:
        ConfigError: streams or options that the model or the corpus does not take, or that leave a part of the model untrained.
        RunError: one class only, an input that no clip of a whole part has, labels, speakers or folds that are lacking.

    """
    refuse_one_class(data)
    refuse_values_without_labels(data, found)
    if config.normalise == "speaker":
        speaker_groups(data.speaker_ids)
    _refuse_lone_modalities(data, found)
    if config.candidates:
        for partition in found:
            inner = [one.test["inner"] for one in inner_partitions(config.protocol, data, partition)]
            refuse_undefined("select_metric", config.select_metric, data, np.concatenate(inner), partition)
    for candidate in [config.candidate(number) for number in range(len(config.candidates))] or [config]:
        _check_candidate(candidate, data, found)


def _check_candidate(config: TrainConfig, data: TrainingData, found: Sequence[Partition]) -> None:
    config.model.check_streams(data.specs)
    for partition in found:
        loss_settings(config, data, partition.train)
        if config.early_stopping and partition.dev is not None:
            refuse_undefined("early_stopping.metric", config.early_stopping.metric, data, partition.dev, partition)
    _refuse_steps_without_clips(config, data, found)
    needing = [step.name for step in config.model.build(data.specs, data.task).steps if step.needs]
    if config.modality_dropout and needing:
        raise ConfigError(
            f"modality_dropout: this model trains steps of their own for clips that have {', '.join(needing)}; set modality_dropout: 0"
        )


def _refuse_steps_without_clips(config: TrainConfig, data: TrainingData, found: Sequence[Partition]) -> None:
    steps = [step for step in config.model.build(data.specs, data.task).steps if step.needs]
    for partition, seed in itertools.product(found, config.seeds if steps else ()):
        kept = kept_streams(config, data, partition, seed) or {}
        having = {
            modality: np.any(
                [stream.present_N & kept.get(stream.spec.name, True) for stream in data.streams if stream.spec.modality == modality], axis=0
            )[partition.train]
            for modality in {modality for step in steps for modality in step.needs}
        }
        for step in steps:
            num_taking_part = int(np.all([having[modality] for modality in step.needs], axis=0).sum())
            needed = " and ".join(step.needs)
            if num_taking_part == 0:
                raise ConfigError(
                    f"paired_share: {config.paired_share:g} leaves {partition.label}, seed {seed}, no clip that has {needed}, which the "
                    f"model's step {step.name} learns from: clips with {needed} would be predicted by untrained weights; with the model "
                    f"vavl set model.audio_visual_head: false{'' if config.paired_share == 1 else ', or raise paired_share'}"
                )
            if config.vectorised and num_taking_part < len(partition.train):
                raise ConfigError(
                    f"vectorised: {len(partition.train) - num_taking_part} of the {len(partition.train)} clips of {partition.label} lack "
                    f"{needed}, which the model's step {step.name} learns from: one fit's batch may have to leave the step out and "
                    "another's not; set vectorised: false"
                )


def refuse_one_class(data: TrainingData) -> None:
    """Refuse a corpus whose clips are of fewer than two emotions."""
    classes = data.task.classes
    labelled = [name for name, count in zip(classes, data.class_counts(np.arange(data.num_clips)), strict=True) if count > 0]
    if len(classes) < 2 or len(labelled) == 1:
        raise RunError(
            f"{data.corpus}: a classifier needs clips of at least 2 emotions, this corpus has {', '.join(labelled) or 'none'}; "
            "label clips of another emotion, or join another corpus"
        )


def refuse_values_without_labels(data: TrainingData, found: Sequence[Partition]) -> None:
    """Refuse values that no training clip of a part knows."""
    for partition in found:
        for name, value_N in data.values.items():
            if np.isnan(value_N[partition.train]).all():
                raise RunError(f"values: no clip of {partition.label} has a known {name}; label some, or leave {name} out of values")


def refuse_undefined(key: str, metric: str, data: TrainingData, rows: IntArray, partition: Partition) -> None:
    """Refuse a metric that some clips' labels leave undefined, whatever is predicted: also where they are predicted themselves."""
    label_N = torch.from_numpy(data.emotion_N[rows])
    values = {name: torch.from_numpy(value_N[rows]) for name, value_N in data.values.items()}
    if metric != LOSS and metric not in score(Outcome(label_N, label_N, values, values, len(data.task.classes))):
        where = "dev" if partition.fold is None else f"the clips that decide for fold {partition.fold}"
        raise RunError(f"{key}: {metric} is undefined on {where}, which have too few labels for it; choose another metric, or label some")


def _refuse_lone_modalities(data: TrainingData, found: Sequence[Partition]) -> None:
    for partition in found:
        parts = {"train": partition.train, **({} if partition.dev is None else {"dev": partition.dev}), **partition.test}
        for stream in data.streams:
            present = {name: bool(stream.present_N[rows].any()) for name, rows in parts.items() if len(rows)}
            lacking = [name for name, has_any in present.items() if not has_any]
            if len(lacking) == len(present):
                raise RunError(
                    f"inputs: no clip has {stream.spec.name} ({stream.encoder}); {_why_lacking(data, stream)}leave this input out"
                )
            if lacking:
                where = "" if partition.fold is None else f" of fold {partition.fold}"
                raise RunError(
                    f"inputs: no clip of {', '.join(lacking)}{where} has {stream.spec.name} ({stream.encoder}), others have; "
                    f"{_why_lacking(data, stream)}put clips that have it into all parts, or leave this input out"
                )


def _why_lacking(data: TrainingData, stream: Stream) -> str:
    """What can help: clips that were never extracted are refused before, so the others have nothing that could be."""
    num_failed = data.num_failed.get(stream.encoder, 0)
    if num_failed:
        return f"{num_failed} clips failed in its extraction: mend them and extract again with retry_failed=true, or "
    return f"they were extracted, but have no {stream.spec.modality}: "
