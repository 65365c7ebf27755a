"""Scores of all candidates in order, and which of the first are level with the best.

Shapes: R resamples, N clips.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mer_ray.objectives.bootstrap import interval, resampled_means
from mer_ray.objectives.metrics import LOWER_IS_BETTER, Outcome, score
from mer_ray.probing.config import Pooling
from mer_ray.probing.predicting import Probed
from mer_ray.probing.targets import ProbeClips

# Intervals cost more than the probe itself; below these ranks nobody looks for the last digit.
NUM_WITH_INTERVALS = 15


@dataclass(frozen=True)
class Entry:
    """A pooled layer with its scores; `encoder` is the store's key, `number` the layer's place from 0, `penalties` by target and fold.

    `interval` and `behind` (the best minus this one in the ranking's metric, with its interval) are of the first few only.
    """

    encoder: str
    modality: str
    layer: str
    number: int
    pooling: Pooling
    dim: int
    scores: dict[str, float]
    penalties: dict[str, list[float]]
    interval: tuple[float, float] | None = None
    behind: float | None = None
    behind_interval: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The encoder's name without its identity."""
        return self.encoder.partition("@")[0]

    @property
    def is_level(self) -> bool | None:
        """Whether these clips leave open that it is as good as the best; None where that was not asked."""
        if self.behind_interval is None:
            return None
        low, high = self.behind_interval
        return low <= 0 <= high

    def to_json(self) -> dict[str, Any]:
        """As probe.json has it."""
        return {**asdict(self), "name": self.name, "is_level": self.is_level}


@dataclass(frozen=True)
class Scored:
    """An entry with the predictions that it was scored on."""

    entry: Entry
    outcome: Outcome


def score_candidate(probed: Probed, clips: ProbeClips) -> Scored:
    """All metrics over all held-out clips together."""
    one, outcome = probed.candidate, clips.outcome(probed.predicted)
    entry = Entry(
        encoder=one.encoder.key,
        modality=one.encoder.modality,
        layer=one.layer,
        number=one.number,
        pooling=one.pooling,
        dim=one.dim,
        scores=score(outcome),
        penalties=probed.penalties,
    )
    return Scored(entry, outcome)


def rank(scored: Sequence[Scored], metric: str, speaker_ids: Sequence[str | None], seed: int, num_resamples: int) -> list[Entry]:
    """Best first, with intervals of the first few: whole speakers are drawn anew where all are known, else clips."""
    sign = 1 if metric.endswith(LOWER_IS_BETTER) else -1
    ordered = sorted(scored, key=lambda one: sign * one.entry.scores[metric])
    groups_N = speaker_numbers(speaker_ids)
    best_R: Tensor | None = None
    entries = []
    for place, one in enumerate(ordered):
        if place >= NUM_WITH_INTERVALS:
            entries.append(one.entry)
            continue
        score_R = resampled_means([_only(one.outcome, metric)], seed, num_resamples, groups_N)[metric]
        best_R = score_R if best_R is None else best_R
        behind_R = best_R - score_R if sign < 0 else score_R - best_R
        behind = abs(ordered[0].entry.scores[metric] - one.entry.scores[metric])
        entries.append(replace(one.entry, interval=interval(score_R), behind=behind, behind_interval=interval(behind_R)))
    return entries


def speaker_numbers(speaker_ids: Sequence[str | None]) -> Tensor | None:
    """The number of each clip's speaker (N,); None where some are unknown."""
    if any(speaker is None for speaker in speaker_ids):
        return None
    return torch.from_numpy(np.unique([str(speaker) for speaker in speaker_ids], return_inverse=True)[1].astype(np.int64))


def _only(outcome: Outcome, metric: str) -> Outcome:
    """What one metric is computed from: the others cost most of a resample's time."""
    needed = [name for name in outcome.values if metric.startswith(f"{name}_") or (metric == "mer2023" and name == "valence")]
    of_value = bool(needed) and metric != "mer2023"
    return replace(
        outcome,
        label_N=torch.full_like(outcome.label_N, -1) if of_value else outcome.label_N,
        value_labels={name: outcome.value_labels[name] for name in needed},
        values={name: outcome.values[name] for name in needed},
    )
