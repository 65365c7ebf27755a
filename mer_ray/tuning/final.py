"""The end of a search: the best trained anew with several seeds and judged on clips that the search never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mer_ray.core.batch import TaskSpec
from mer_ray.core.seeding import derive_seed
from mer_ray.objectives.pairing import difference
from mer_ray.training.config import TrainConfig
from mer_ray.training.predictions_table import outcomes_by_seed
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.train import train


@dataclass(frozen=True)
class FinalRun:
    """A finished training: the first test split's score in one metric, mean over seeds, its 95 % interval and its deviation."""

    out: Path
    split: str
    mean: float
    interval: tuple[float, float] | None
    std: float | None
    num_seeds: int

    def facts(self) -> dict[str, Any]:
        """For search.json."""
        interval = None if self.interval is None else list(self.interval)
        found = {"split": self.split, "mean": self.mean, "interval": interval, "std": self.std, "num_seeds": self.num_seeds}
        return {"out": str(self.out), **found}


def train_finally(config: TrainConfig, metric: str) -> FinalRun:
    """Train, or find trained, and score on test."""
    summary = train(config)
    split = next(name for name in summary.scores if name != "dev")
    scores = summary.scores[split]
    interval = scores["interval"].get(metric)
    bounds = None if interval is None else (interval[0], interval[1])
    return FinalRun(config.out, split, scores["mean"][metric], bounds, scores["std"].get(metric), len(config.seeds))


def compare_runs(first: FinalRun, other: FinalRun, metric: str, classes: Sequence[str], values: Sequence[str]) -> Mapping[str, Any]:
    """`other` minus `first` on the same test clips: mean, interval of the paired bootstrap, p of the paired randomisation test."""
    task = TaskSpec(tuple(classes), tuple(values))
    ones, others = (
        list(outcomes_by_seed(pq.read_table(RunFolder(run.out).predictions_path(run.split)), task).values()) for run in (first, other)
    )
    found = difference(ones, others, metric, derive_seed("search", "final"))
    return {"mean": found.mean, "interval": None if found.interval is None else list(found.interval), "p_value": found.p_value}
