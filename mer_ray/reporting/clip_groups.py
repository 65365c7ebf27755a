"""Which clips a person should look at, and why: a run's surest mistakes, its closest calls.

Shapes: K clips, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_ray.reporting.clips import ClipMeans, clip_means, surest_wrong
from mer_ray.reporting.runs import Run, SplitPredictions


@dataclass(frozen=True)
class ClipGroup:
    """One reason to look at a clip; `rank` gives positions of clips, those that need a look most first."""

    key: str
    title: str
    reason: str
    rank: Callable[[Run, ClipMeans], npt.NDArray[Any]]


def _rank_wrong(run: Run, means: ClipMeans) -> npt.NDArray[Any]:
    return surest_wrong(means)


def _rank_uncertain(run: Run, means: ClipMeans) -> npt.NDArray[Any]:
    """By the entropy of the mean probabilities, highest first (our choice: it counts what seeds disagree on, too)."""
    return np.argsort(-entropies(means.probabilities_KC), kind="stable")


def entropies(probabilities_KC: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shannon's entropy (K,) in nats."""
    logs_KC = np.log(probabilities_KC, out=np.zeros_like(probabilities_KC), where=probabilities_KC > 0)
    entropies_K: npt.NDArray[np.float64] = -(probabilities_KC * logs_KC).sum(axis=1)
    return entropies_K


GROUPS = (
    ClipGroup("wrong", "surest mistakes", "The run is sure of another emotion than the label: is the label right?", _rank_wrong),
    ClipGroup("uncertain", "closest calls", "The run cannot decide: a clear label here teaches it most.", _rank_uncertain),
)


def predicted_clips(run: Run, split: str, predictions: SplitPredictions) -> ClipMeans:
    """The clips of the split that the report explains, and the unlabelled ones of every other split that the run predicted."""
    parts = [clip_means(predictions)]
    for name in run.predicted_splits():
        if name != split:
            other = run.predictions(name)
            parts.append(clip_means(other.select(other.labels_N < 0)))
    return ClipMeans(
        np.concatenate([part.clip_ids_K for part in parts]),
        np.concatenate([part.speakers_K for part in parts]),
        np.concatenate([part.labels_K for part in parts]),
        np.concatenate([part.probabilities_KC for part in parts]),
    )
