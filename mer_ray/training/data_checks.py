"""What must hold of data, protocol and model before anything is trained."""

import itertools
from collections.abc import Sequence

import numpy as np

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.training.config import TrainConfig
from mer_ray.training.pairing import kept_streams
from mer_ray.training.protocol import Partition
from mer_ray.training.training_data import TrainingData


def check_fit(config: TrainConfig, data: TrainingData, found: Sequence[Partition]) -> None:
    """Refuse what would train to nothing, or stop in the middle.

    Raises:
        ConfigError: streams or options that the model does not take, or that leave a part of it untrained.
        RunError: one class only, or an input that no clip of a whole part has.

    """
    _refuse_one_class(data)
    config.model.check_streams(data.specs)
    _refuse_lone_modalities(data, found)
    for candidate in [config.candidate(number) for number in range(len(config.candidates))] or [config]:
        _refuse_steps_without_clips(candidate, data, found)
    if config.modality_dropout:
        model = config.model.build(data.specs, data.task)
        needing = [step.name for step in model.steps if step.needs]
        if needing:
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
            if not np.all([having[modality] for modality in step.needs], axis=0).any():
                needed = " and ".join(step.needs)
                raise ConfigError(
                    f"paired_share: {config.paired_share:g} leaves {partition.label}, seed {seed}, no clip that has {needed}, which the "
                    f"model's step {step.name} learns from: clips with {needed} would be predicted by untrained weights; with the model "
                    f"vavl set model.audio_visual_head: false{'' if config.paired_share == 1 else ', or raise paired_share'}"
                )


def _refuse_one_class(data: TrainingData) -> None:
    classes = data.task.classes
    labelled = [name for name, count in zip(classes, data.class_counts(np.arange(data.num_clips)), strict=True) if count > 0]
    if len(classes) < 2 or len(labelled) == 1:
        raise RunError(
            f"{data.corpus}: a classifier needs clips of at least 2 emotions, this corpus has {', '.join(labelled) or 'none'}; "
            "label clips of another emotion, or join another corpus"
        )


def _refuse_lone_modalities(data: TrainingData, found: Sequence[Partition]) -> None:
    for partition in found:
        parts = {"train": partition.train, **({} if partition.dev is None else {"dev": partition.dev}), **partition.test}
        for stream in data.streams:
            present = {name: bool(stream.present_N[rows].any()) for name, rows in parts.items() if len(rows)}
            lacking = [name for name, has_any in present.items() if not has_any]
            if lacking:
                where = "" if partition.fold is None else f" of fold {partition.fold}"
                raise RunError(
                    f"inputs: no clip of {', '.join(lacking)}{where} has {stream.spec.name} ({stream.encoder}), others have; "
                    "extract it for all parts, or leave this input out"
                )
