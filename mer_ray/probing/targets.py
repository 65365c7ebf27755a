"""Labels -> regressions: one-vs-rest classes and values, and what is predicted of them without any feature.

Shapes: N clips, n of them with a label, C classes, T targets, K folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from mer_ray.core.errors import RunError
from mer_ray.core.manifest import VALUE_COLUMNS, ManifestFacts
from mer_ray.core.media_types import BoolArray, FloatArray
from mer_ray.objectives.metrics import Outcome, is_better, score
from mer_ray.probing.ridge import FoldedTargets
from mer_ray.training.loading import emotion_numbers, soft_labels
from mer_ray.training.training_data import IntArray

EMOTION = "emotion"
# One fold is tested, one decides on the penalty, the rest trains.
MIN_FOLDS = 3


@dataclass(frozen=True)
class Target:
    """One label of all clips: `y_NT` float32 (shares of the classes, or a value), `known_N` where there is one."""

    name: str
    y_NT: FloatArray
    known_N: BoolArray


@dataclass(frozen=True)
class ProbeClips:
    """The clips of a probe: `emotion_N` has -1 = unknown, `values[name]` NaN = unknown."""

    clip_ids: list[str]
    speaker_ids: list[str | None]
    fold_N: IntArray
    classes: tuple[str, ...]
    emotion_N: IntArray
    values: dict[str, FloatArray]
    targets: tuple[Target, ...]

    @property
    def num_clips(self) -> int:
        """N."""
        return len(self.clip_ids)

    def outcome(self, predicted: dict[str, Tensor]) -> Outcome:
        """Predictions (N, T) by target beside the labels."""
        return Outcome(
            label_N=torch.from_numpy(self.emotion_N),
            predicted_N=predicted[EMOTION].argmax(dim=1),
            value_labels={name: torch.from_numpy(value_N) for name, value_N in self.values.items()},
            values={name: predicted[name][:, 0] for name in self.values},
            num_classes=len(self.classes),
        )


def load_clips(path: Path, rows: pa.Table, facts: ManifestFacts, values: Sequence[str] | None) -> ProbeClips:
    """The labels of the rows; `values` None: all that vary.

    Raises:
        RunError: fewer than two emotions, a value without labels, or labels in too few folds.

    """
    emotion_N = emotion_numbers(rows["emotion"], facts.classes)
    soft_NC = soft_labels(rows, facts.classes)
    one_hot_NC: FloatArray = (emotion_N[:, None] == np.arange(len(facts.classes))).astype(np.float32)
    shares_NC = one_hot_NC if soft_NC is None else soft_NC
    named = VALUE_COLUMNS if values is None else values
    columns = {name: rows[name].cast(pa.float32()).fill_null(float("nan")).to_numpy().copy() for name in named}
    if values is None:
        columns = {name: value_N for name, value_N in columns.items() if len(np.unique(value_N[~np.isnan(value_N)])) > 1}
    targets = (
        Target(EMOTION, shares_NC, shares_NC.sum(axis=1) > 0),
        *(Target(name, np.nan_to_num(value_N)[:, None], ~np.isnan(value_N)) for name, value_N in columns.items()),
    )
    clips = ProbeClips(
        clip_ids=rows["clip_id"].to_pylist(),
        speaker_ids=rows["speaker_id"].to_pylist(),
        fold_N=rows["fold"].to_numpy().astype(np.int64),
        classes=facts.classes,
        emotion_N=emotion_N,
        values=columns,
        targets=targets,
    )
    _check(path, clips)
    return clips


def _check(path: Path, clips: ProbeClips) -> None:
    labelled = [clips.classes[number] for number in np.unique(clips.emotion_N[clips.emotion_N >= 0])]
    if len(labelled) < 2:
        raise RunError(
            f"{path}: a probe needs clips of at least 2 emotions, those in folds have {', '.join(labelled) or 'none'}; label more clips"
        )
    for target in clips.targets:
        num_folds = len(np.unique(clips.fold_N[target.known_N]))
        if num_folds < MIN_FOLDS:
            raise RunError(
                f"{path}: {target.name} is known in {num_folds} folds, and a probe needs {MIN_FOLDS}: one is tested, one decides on the "
                f"penalty, the rest trains; make more folds: folds.name=stratified folds.num_folds=5"
                + ("" if target.name == EMOTION else f", or leave {target.name} out of values")
            )


@dataclass(frozen=True)
class Problem:
    """Targets that are known for the same clips: `rows_n` are these, in the order of their folds."""

    targets: tuple[Target, ...]
    rows_n: IntArray
    folded: FoldedTargets


def make_problems(clips: ProbeClips, present_N: BoolArray) -> list[Problem] | None:
    """The regressions on clips that have features; None where those of a target are in too few folds."""
    shared: dict[bytes, list[Target]] = {}
    for target in clips.targets:
        shared.setdefault(target.known_N.tobytes(), []).append(target)
    problems = []
    for targets in shared.values():
        rows_n = np.flatnonzero(targets[0].known_N & present_N)
        rows_n = rows_n[np.argsort(clips.fold_N[rows_n], kind="stable")]
        _, starts = np.unique(clips.fold_N[rows_n], return_index=True)
        if len(starts) < MIN_FOLDS:
            return None
        y_nT = torch.from_numpy(np.concatenate([target.y_NT[rows_n] for target in targets], axis=1).astype(np.float32))
        units = np.cumsum([0, *(target.y_NT.shape[1] for target in targets)])
        problems.append(Problem(tuple(targets), rows_n, FoldedTargets(y_nT, (*starts.tolist(), len(rows_n)), tuple(units.tolist()))))
    return problems


def predict_without_features(clips: ProbeClips) -> dict[str, Tensor]:
    """The mean of each target (N, T) over the labelled clips of the other folds: what is predicted of clips without features."""
    predicted = {}
    for target in clips.targets:
        mean_NT = np.empty_like(target.y_NT, dtype=np.float32)
        for fold in np.unique(clips.fold_N):
            mean_NT[clips.fold_N == fold] = target.y_NT[target.known_N & (clips.fold_N != fold)].mean(axis=0)
        predicted[target.name] = torch.from_numpy(mean_NT)
    return predicted


def chance_scores(clips: ProbeClips, seed: int, num_draws: int = 100) -> dict[str, float]:
    """Of each metric the better of two guesses: the mean of other folds (so the commonest class), or classes drawn by their shares."""
    constant = clips.outcome(predict_without_features(clips))
    scores = score(constant)
    random = np.random.default_rng(seed)
    known_N: npt.NDArray[np.int64] = clips.emotion_N[clips.emotion_N >= 0]
    drawn = []
    for _ in range(num_draws):
        guess_N = torch.from_numpy(random.choice(known_N, clips.num_clips))
        drawn.append(score(Outcome(constant.label_N, guess_N, {}, {}, constant.num_classes)))
    for name in drawn[0]:
        mean = float(np.mean([one[name] for one in drawn]))
        if is_better(name, mean, scores[name]):
            scores[name] = mean
    return scores
