"""Which networks are trained, and which clips each of them encodes: cross-fitting."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mer_ray.core.media_types import BoolArray
from mer_ray.corpora.folds import StratifiedFoldsConfig
from mer_ray.encoders._cross_fit import DEFAULT_ADAPTER, fold_name
from mer_ray.finetuning.config import CrossFittedSplits, FinetuneConfig
from mer_ray.training.config import FoldsProtocol
from mer_ray.training.protocol import Partition, partitions
from mer_ray.training.training_data import IntArray, TrainingData

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Fit:
    """One network: the rows that it trains on, stops on and predicts, and those that its adapter encodes, `encoded`."""

    name: str
    partition: Partition
    encoded: IntArray

    def only(self, usable_N: BoolArray) -> "Fit":
        """Without the rows that have no input; they keep their adapter."""
        own = self.partition
        kept = {split: rows[usable_N[rows]] for split, rows in own.test.items()}
        dev = None if own.dev is None else own.dev[usable_N[own.dev]]
        return replace(self, partition=Partition(own.fold, own.train[usable_N[own.train]], dev, kept))

    @property
    def label(self) -> str:
        """As messages name it."""
        return "the fit on all labelled clips" if self.name == DEFAULT_ADAPTER else f"the fit without {self.name.replace('fold', 'fold ')}"


def choose_fits(config: FinetuneConfig, data: TrainingData) -> list[Fit]:
    """A fit per fold, then one on all labelled clips that may train, whose adapter is for clips without a fold.

    Raises:
        RunError: no such split or folds, or no labelled clip to train on.
        ManifestError: too few clips or speakers for the folds of a training split.

    """
    found = partitions(config.protocol, data)
    if isinstance(config.protocol, FoldsProtocol):
        everything = Partition(None, np.flatnonzero(data.is_labelled), None, {})
        fits = [Fit(fold_name(one.fold), one, one.test["test"]) for one in found if one.fold is not None]
        return [*fits, Fit(DEFAULT_ADAPTER, everything, np.array([], np.int64))]
    (whole,) = found
    folds = _fold_training_split(config.protocol, data, whole.train, config.seed)
    fits = []
    for fold in range(config.protocol.num_folds):
        held_out = whole.train[folds == fold]
        fits.append(Fit(fold_name(fold), Partition(fold, whole.train[folds != fold], whole.dev, {HELD_OUT: held_out}), held_out))
    return [*fits, Fit(DEFAULT_ADAPTER, whole, np.array([], np.int64))]


def _fold_training_split(protocol: CrossFittedSplits, data: TrainingData, rows: IntArray, seed: int) -> IntArray:
    classes = data.task.classes
    labels = [classes[number] if number >= 0 else None for number in data.emotion_N[rows].tolist()]
    clips = pa.table(
        {"emotion": pa.array(labels, pa.string()), "speaker_id": pa.array([data.speaker_ids[row] for row in rows.tolist()], pa.string())}
    )
    return StratifiedFoldsConfig(num_folds=protocol.num_folds, seed=seed).choose(clips, range(len(rows))).astype(np.int64)


def adapter_of(fits: Sequence[Fit], data: TrainingData) -> dict[str, str]:
    """By clip_id the adapter that was not trained on the clip, of all clips that some fit may have trained on."""
    return {data.clip_ids[row]: fit.name for fit in fits for row in fit.encoded.tolist()}
