"""The end of a search: the best run again with several seeds and judged on clips that the search never saw.

Shapes: N test clips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mer_ray.core.batch import TaskSpec
from mer_ray.core.errors import RunError
from mer_ray.core.seeding import derive_seed
from mer_ray.objectives import Outcome, intervals, score
from mer_ray.objectives.pairing import difference
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.folder import SelftrainFolder
from mer_ray.selftraining.selftrain import selftrain
from mer_ray.training.config import TrainConfig
from mer_ray.training.predictions_table import outcomes_by_seed
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.train import train


@dataclass(frozen=True)
class FinalRun:
    """A finished run: the first test split's score in one metric, its 95 % interval and, over seeds, its deviation.

    `outcomes`: labels and predictions by clip_id, one per seed; of a self-training, whose seeds vote together, one.
    """

    out: Path
    split: str
    mean: float
    interval: tuple[float, float] | None
    std: float | None
    num_seeds: int
    outcomes: list[Outcome]

    def facts(self) -> dict[str, Any]:
        """For search.json."""
        interval = None if self.interval is None else list(self.interval)
        found = {
            "split": self.split,
            "mean": self.mean,
            "interval": interval,
            "std": self.std,
            "num_seeds": self.num_seeds,
        }
        return {"out": str(self.out), **found}


def train_finally(config: TrainConfig, metric: str) -> FinalRun:
    """Train, or find trained, and score on test.

    Raises:
        RunError: as `train`, or no test clip has a label.

    """
    summary = train(config)
    split = next((name for name in summary.scores if name != "dev"), None)
    if split is None or metric not in summary.scores[split]["mean"]:
        raise _no_label(config.out, metric)
    scores = summary.scores[split]
    interval = scores["interval"].get(metric)
    bounds = None if interval is None else (interval[0], interval[1])
    task = TaskSpec(tuple(summary.facts["classes"]), tuple(config.values))
    outcomes = list(outcomes_by_seed(pq.read_table(RunFolder(config.out).predictions_path(split)), task).values())
    return FinalRun(config.out, split, scores["mean"][metric], bounds, scores["std"].get(metric), len(config.seeds), outcomes)


def selftrain_finally(config: SelftrainConfig, metric: str) -> FinalRun:
    """Run all rounds, or find them run, and score the vote of the best one on test.

    Raises:
        RunError: as `selftrain`, or no test clip has a label.

    """
    summary = selftrain(config)
    split = next((name for name in _test_splits(config) if name in summary.facts["splits"]), None)
    if split is None:
        raise _no_label(config.out, metric)
    outcome = _vote_outcome(SelftrainFolder(config.out), split, tuple(summary.facts["classes"]), config.train.values)
    bounds = intervals([outcome], derive_seed("bootstrap", split)).get(metric)
    return FinalRun(config.out, split, score(outcome)[metric], bounds, None, len(config.train.seeds), [outcome])


def compare_runs(first: FinalRun, other: FinalRun, metric: str) -> Mapping[str, Any]:
    """`other` minus `first` on the same test clips: mean, interval of the paired bootstrap, p of the paired randomisation test."""
    found = difference(first.outcomes, other.outcomes, metric, derive_seed("search", "final"))
    return {"mean": found.mean, "interval": None if found.interval is None else list(found.interval), "p_value": found.p_value}


def _vote_outcome(folder: SelftrainFolder, split: str, classes: tuple[str, ...], values: list[Any]) -> Outcome:
    predicted = pq.read_table(folder.predictions_path(split)).sort_by("clip_id")
    labels = pq.read_table(folder.labels_path(split)).sort_by("clip_id")
    assert predicted["clip_id"].equals(labels["clip_id"])
    return Outcome(
        _class_numbers(labels["emotion"], classes),
        _class_numbers(predicted["emotion"], classes),
        {name: _numbers(labels[name]) for name in values},
        {name: _numbers(predicted[name]) for name in values},
        len(classes),
    )


def _class_numbers(emotions: pa.ChunkedArray, classes: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([-1 if name is None else classes.index(name) for name in emotions.to_pylist()])


def _numbers(column: pa.ChunkedArray) -> torch.Tensor:
    return torch.tensor(column.cast(pa.float32()).fill_null(float("nan")).to_numpy())


def _test_splits(config: SelftrainConfig) -> list[str]:
    return [name for name in config.protocol.test if name not in config.unlabelled]


def _no_label(out: Path, metric: str) -> RunError:
    return RunError(
        f"{out}: no test clip has a label for {metric}, so nothing can judge the best; name labelled test clips in the protocol"
    )
