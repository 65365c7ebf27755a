"""Predictions -> scores.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mer_ray.core.batch import TaskSpec
from mer_ray.core.seeding import derive_seed
from mer_ray.objectives import Outcome, confusion, intervals, per_class, score
from mer_ray.training.predictions_table import ensemble_outcome, outcomes_by_seed


def score_splits(tables: Mapping[str, pa.Table], task: TaskSpec) -> dict[str, Any]:
    """Scores of every split that has labelled clips, in the form of scores.json; `std` is null for a single seed."""
    splits = {}
    for split, table in tables.items():
        outcomes = outcomes_by_seed(table, task)
        num_clips = _num_labelled(next(iter(outcomes.values())))
        if num_clips:
            splits[split] = {"num_clips": num_clips, **_score_split(table, outcomes, task, split)}
    return {"splits": splits}


def _score_split(table: pa.Table, outcomes: Mapping[int, Outcome], task: TaskSpec, split: str) -> dict[str, Any]:
    per_seed = [{"seed": seed, **score(outcome)} for seed, outcome in outcomes.items()]
    # A metric that is undefined for one seed (CCC of constant labels) has no mean over seeds.
    names = [name for name in per_seed[0] if name != "seed" and all(name in row for row in per_seed)]
    listed = {name: [row[name] for row in per_seed] for name in names}
    classes = [per_class(outcome) for outcome in outcomes.values()]
    found = intervals(list(outcomes.values()), derive_seed("bootstrap", split))
    return {
        "per_seed": per_seed,
        "mean": {name: statistics.fmean(scores) for name, scores in listed.items()},
        "std": {name: statistics.stdev(scores) if len(scores) > 1 else None for name, scores in listed.items()},
        "interval": {name: list(found[name]) for name in names if name in found},
        "confusion": np.mean([confusion(outcome) for outcome in outcomes.values()], axis=0).tolist(),
        **(_score_ensemble(table, task, split) if len(outcomes) > 1 else {}),
        "per_class": {name: _mean_row([rows[number] for rows in classes]) for number, name in enumerate(task.classes)},
    }


def _score_ensemble(table: pa.Table, task: TaskSpec, split: str) -> dict[str, Any]:
    """Scores of the seeds' mean probabilities and values: one decision per clip, as a team hands it in."""
    outcome = ensemble_outcome(table, task)
    found = intervals([outcome], derive_seed("bootstrap", split))
    return {"ensemble": score(outcome), "ensemble_interval": {name: list(bounds) for name, bounds in found.items()}}


def _mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}


def _num_labelled(outcome: Outcome) -> int:
    known_N = outcome.label_N >= 0
    for value_N in outcome.value_labels.values():
        known_N = known_N | ~value_N.isnan()
    return int(known_N.sum())
