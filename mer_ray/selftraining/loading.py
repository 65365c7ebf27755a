"""Manifest and store -> the data of every teacher, and apart from it what is known of the unlabelled part.

Shapes: U unlabelled clips.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mer_ray.core.config import nearest
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.manifest import read_manifest
from mer_ray.prediction.labels import read_label_table
from mer_ray.selftraining.committee import Labels
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.rounds import unlabelled_rows
from mer_ray.training.config import TrainConfig
from mer_ray.training.data_checks import check_fit
from mer_ray.training.loading import load_training_data
from mer_ray.training.protocol import partitions
from mer_ray.training.training_data import TrainingData


@dataclass(frozen=True)
class SelftrainData:
    """`by_teacher`: what trainings and selection see, without a label of the unlabelled part.

    `truth`: those labels, for reports, by split.
    """

    by_teacher: dict[str, TrainingData]
    truth: dict[str, Labels]


def load_selftrain_data(config: SelftrainConfig) -> SelftrainData:
    """Read what every teacher reads.

    Raises:
        As `selftrain_data`.

    """
    return selftrain_data(config, load_training_data)


def selftrain_data(config: SelftrainConfig, load: Callable[[TrainConfig], TrainingData]) -> SelftrainData:
    """What every teacher reads, by `load`.

    Raises:
        ConfigError, ManifestError, StoreError, RunError: as a training; class names that the corpus does not have, or no unlabelled clip.
        PredictionError: the file of the truth cannot be read, or names none of the clips.

    """
    _refuse_absent(config)
    loaded: dict[str, TrainingData] = {}
    by_teacher: dict[str, TrainingData] = {}
    for teacher in config.teachers:
        training = config.training_of(teacher, is_student=False)
        student = config.training_of(teacher, is_student=True)
        if student.inputs != training.inputs or student.store != training.store:
            raise ConfigError("student.changes: a student reads the inputs of its teacher; leave inputs and store out")
        key = repr((training.inputs, training.store))
        if key not in loaded:
            loaded[key] = _with_folds_as_splits(config, load(training))
        by_teacher[teacher.name] = loaded[key]
    first = next(iter(loaded.values()))
    config.check_classes(first.task.classes)
    rows = unlabelled_rows(config, first)
    truth = {name: _truth_of(config, first, rows_U) for name, rows_U in rows.items()}
    hidden = np.concatenate(list(rows.values()))
    by_teacher = {name: without_labels(data, hidden) for name, data in by_teacher.items()}
    for teacher in config.teachers:
        training, data = config.training_of(teacher, is_student=False), by_teacher[teacher.name]
        check_fit(training, data, partitions(training.protocol, data))
    return SelftrainData(by_teacher, truth)


def _with_folds_as_splits(config: SelftrainConfig, data: TrainingData) -> TrainingData:
    """The data with folds of the training split as the splits that the config makes of them."""
    train = config.protocol.train
    there = {int(fold) for fold, split in zip(data.folds_N, data.splits, strict=True) if split == train} - {-1}
    for name, folds in config.folds_as.items():
        absent = [fold for fold in folds if fold not in there]
        if absent:
            known = ", ".join(map(str, sorted(there))) or "none: make the manifest with folds"
            raise RunError(f"folds_as.{name}: the split {train!r} has no fold {absent[0]}; it has {known}")
    split_of = {fold: name for name, folds in config.folds_as.items() for fold in folds}
    splits = [split_of.get(int(fold), split) if split == train else split for split, fold in zip(data.splits, data.folds_N, strict=True)]
    return replace(data, splits=splits)


def without_labels(data: TrainingData, rows: npt.NDArray[np.int64]) -> TrainingData:
    """The data with the labels of some rows unknown."""
    emotion_N = data.emotion_N.copy()
    emotion_N[rows] = -1
    values = {name: value_N.copy() for name, value_N in data.values.items()}
    for value_N in values.values():
        value_N[rows] = np.nan
    probs_NC = None if data.emotion_probs_NC is None else data.emotion_probs_NC.copy()
    if probs_NC is not None:
        probs_NC[rows] = 0.0
    return replace(data, emotion_N=emotion_N, values=values, emotion_probs_NC=probs_NC)


def _refuse_absent(config: SelftrainConfig) -> None:
    available = sorted(set(read_manifest(config.train.manifest).table["split"].to_pylist()) - {None})
    for name in config.unlabelled:
        if name not in available:
            raise RunError(
                f"unlabelled: the manifest has no clip of split {name!r}{nearest(name, available)}; take in the unlabelled clips, or name "
                "the split that holds them"
            )


def _truth_of(config: SelftrainConfig, data: TrainingData, rows_U: npt.NDArray[np.int64]) -> Labels:
    values = {name: value_N[rows_U] for name, value_N in data.values.items()}
    if config.truth is None:
        return Labels(data.emotion_N[rows_U], values)
    table = read_label_table(config.truth, None, False)
    emotions = dict(zip(table.clip_ids, table.emotions or [None] * len(table.clip_ids), strict=True))
    classes = data.task.classes
    named = [emotions.get(data.clip_ids[row]) for row in rows_U]
    unknown = [name for name in named if name is not None and name not in classes]
    if unknown or not any(named):
        what = f"has the emotion {unknown[0]!r}{nearest(unknown[0], classes)}" if unknown else "knows the emotion of no unlabelled clip"
        raise RunError(f"truth: {config.truth}: {what}")
    return Labels(np.array([-1 if name is None else classes.index(name) for name in named], dtype=np.int64), values)
