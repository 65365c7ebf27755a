"""Who trains, who stops, who is tested: the partitions of a protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer_ray.core.errors import RunError
from mer_ray.core.media_types import BoolArray
from mer_ray.core.seeding import derive_seed
from mer_ray.training.config import FoldsProtocol, SplitsProtocol
from mer_ray.training.training_data import IntArray, TrainingData


@dataclass(frozen=True)
class Partition:
    """Row numbers: `train` and `dev` (None = no dev set) and, by split name, `test`; `fold` None where the run has no folds."""

    fold: int | None
    train: IntArray
    dev: IntArray | None
    test: dict[str, IntArray]

    @property
    def label(self) -> str:
        """As error messages name it."""
        return "the training split" if self.fold is None else f"the training part of fold {self.fold}"


def fit_seed(partition: Partition, seed: int) -> int:
    """What all random draws of a fit are derived from."""
    return derive_seed("fit", seed, -1 if partition.fold is None else partition.fold)


def partitions(protocol: FoldsProtocol | SplitsProtocol, data: TrainingData) -> list[Partition]:
    """The partitions that a run trains on, in turn.

    Raises:
        RunError: no such split or folds, no labelled clip to train on, or none to stop on.

    """
    found = _tested_folds(protocol, data) if isinstance(protocol, FoldsProtocol) else [_split_partition(protocol, data)]
    for partition in found:
        if len(partition.train) == 0:
            raise RunError(f"no labelled clip in {partition.label}; the manifest needs emotion (or the values trained on) for some of them")
        if partition.dev is not None and not data.is_labelled[partition.dev].any():
            where, without = ("dev", "null") if partition.fold is None else (f"fold {partition.fold}, dev", "none")
            raise RunError(f"{where}: no clip with a known emotion or value; set protocol.dev: {without}, or label some")
    return found


def inner_partitions(protocol: FoldsProtocol | SplitsProtocol, data: TrainingData, outer: Partition) -> list[Partition]:
    """Partitions that choose between candidates without a look at the outer test rows: the other folds in turn, or the dev split.

    Raises:
        RunError: too few folds for an inner loop.

    """
    if isinstance(protocol, SplitsProtocol):
        assert outer.dev is not None
        return [Partition(None, outer.train, outer.dev, {"inner": outer.dev})]
    others = [fold for fold in folds_of(data) if fold != outer.fold and fold not in (protocol.test_folds or ())]
    needed = 3 if protocol.has_dev else 2
    if len(others) < needed:
        raise RunError(f"candidates need an inner loop over at least {needed} folds beside the test fold, there are {len(others)}")
    return [Partition(one.fold, one.train, one.dev, {"inner": one.test["test"]}) for one in _fold_partitions(protocol, data, others)]


def _tested_folds(protocol: FoldsProtocol, data: TrainingData) -> list[Partition]:
    folds = folds_of(data)
    tested = folds if protocol.test_folds is None else sorted(protocol.test_folds)
    unknown = [fold for fold in tested if fold not in folds]
    if unknown:
        raise RunError(f"protocol.test_folds: the manifest has no fold {unknown[0]}; it has {', '.join(map(str, folds)) or 'none'}")
    return [partition for partition in _fold_partitions(protocol, data, folds) if partition.fold in tested]


def folds_of(data: TrainingData) -> list[int]:
    """The folds that occur, in order."""
    return sorted({int(fold) for fold in data.folds_N} - {-1})


def _fold_partitions(protocol: FoldsProtocol, data: TrainingData, folds: Sequence[int]) -> list[Partition]:
    needed = 3 if protocol.has_dev else 2
    if len(folds) < needed:
        raise RunError(
            f"protocol folds needs at least {needed} folds, the manifest has {len(folds)}; make them with `manifest: {{folds: ...}}`"
        )
    found = []
    for number, fold in enumerate(folds):
        dev_fold = folds[(number + 1) % len(folds)] if protocol.has_dev else None
        training = [other for other in folds if other not in (fold, dev_fold)]
        found.append(
            Partition(
                fold,
                np.flatnonzero(np.isin(data.folds_N, training) & data.is_labelled),
                None if dev_fold is None else np.flatnonzero(data.folds_N == dev_fold),
                {"test": np.flatnonzero(data.folds_N == fold)},
            )
        )
    return found


def _in_training(of_split_N: BoolArray, data: TrainingData) -> BoolArray:
    """The labelled clips of the training split, and those that train with them."""
    taken_N = of_split_N if data.also_train_N is None else of_split_N | data.also_train_N
    return taken_N & data.is_labelled


def _split_partition(protocol: SplitsProtocol, data: TrainingData) -> Partition:
    splits_N = np.asarray(data.splits, dtype=object)
    available = sorted({split for split in data.splits if split is not None})
    for name in (protocol.train, protocol.dev, *protocol.test):
        if name is not None and name not in available:
            raise RunError(f"protocol: the manifest has no split {name!r}; it has {', '.join(available) or 'none'}")
    return Partition(
        None,
        np.flatnonzero(_in_training(splits_N == protocol.train, data)),
        None if protocol.dev is None else np.flatnonzero(splits_N == protocol.dev),
        {name: np.flatnonzero(splits_N == name) for name in protocol.test},
    )
