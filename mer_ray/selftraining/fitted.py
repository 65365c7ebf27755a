"""What the trained models of a round predict, however they were trained.

Shapes: S seeds, N clips of a split, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_ray.training.config import TrainConfig
from mer_ray.training.evaluation import Predicted
from mer_ray.training.fitting import Learner, fit
from mer_ray.training.protocol import partitions
from mer_ray.training.run_folder import NoKeeper
from mer_ray.training.together import fit_together
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import Worker

RealArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """The predictions of one model's seeds: `probs[split]` (S, N, C), `values[split][name]` (S, N), in the order of the data's rows."""

    probs: dict[str, RealArray]
    values: dict[str, dict[str, RealArray]]


@dataclass(frozen=True)
class Job:
    """One model to train with all its seeds: a teacher, or its student."""

    teacher: str
    config: TrainConfig
    data: TrainingData


# All models of one round -> what each predicts of dev, of every test split and of the unlabelled part.
FitAll = Callable[[Sequence[Job]], list[Fitted]]


def fit_in_memory(make: Callable[[TrainConfig, TrainingData], Worker]) -> FitAll:
    """Fits that leave nothing behind: for a trial of a search; `make` puts data on a device."""

    def fit_all(jobs: Sequence[Job]) -> list[Fitted]:
        return [_fit_seeds(job, make(job.config, job.data)) for job in jobs]

    return fit_all


def _fit_seeds(job: Job, worker: Worker) -> Fitted:
    (partition,) = partitions(job.config.protocol, job.data)
    assert partition.dev is not None
    splits = {"dev": partition.dev, **partition.test}
    found: dict[str, list[Predicted]] = {split: [] for split in splits}
    learners = [Learner(job.config, worker, partition, seed) for seed in job.config.seeds]
    if job.config.vectorised:
        fit_together(learners, lambda _: NoKeeper(), lambda _: None)
    for learner in learners:
        if not job.config.vectorised:
            fit(learner, NoKeeper())
        learner.take_best_weights()
        for split, rows in splits.items():
            found[split].append(learner.predict(rows))
    return Fitted(
        {split: np.stack([one.probs_NC for one in seeds]).astype(np.float64) for split, seeds in found.items()},
        {
            split: {name: np.stack([one.values[name] for one in seeds]).astype(np.float64) for name in job.data.task.values}
            for split, seeds in found.items()
        },
    )
