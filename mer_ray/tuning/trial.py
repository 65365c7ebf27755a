"""One trial: a config trained and scored on development data only, in steps between which it can be ended.

With folds each step is a fold of the inner loop over all folds but the tested ones, scored by the pooled predictions so far; with splits
each step is some epochs, scored on dev by the best epoch so far. Scores are means over the config's seeds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mer_ray.models import FusionModel
from mer_ray.objectives import Outcome, merge, score
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import FoldsProtocol, TrainConfig
from mer_ray.training.data_checks import check_fit
from mer_ray.training.evaluation import Predicted, to_outcome
from mer_ray.training.fitting import Learner, fit
from mer_ray.training.protocol import Partition, inner_partitions, partitions
from mer_ray.training.run_folder import NoKeeper
from mer_ray.training.together import fit_together
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import Worker, make_worker
from mer_ray.tuning.draws import MILLISECONDS_PER_CLIP, PARAMETERS

# Each report costs a message through Ray; ten tell a curve.
NUM_REPORTS = 10


@dataclass(frozen=True)
class TrialStep:
    """Scores after `number` of `total` steps, `number` from 1."""

    number: int
    total: int
    scores: dict[str, float]

    @property
    def is_last(self) -> bool:
        """Whether the trial is complete."""
        return self.number == self.total


def run_trial(config: TrainConfig, data: TrainingData, communicator: Communicator, device: torch.device) -> Iterator[TrialStep]:
    """Train and score; whoever stops asking ends the trial. All workers of a group give the same steps.

    Raises:
        ConfigError: the model does not take these inputs.
        RunError: a loss is no longer finite, or the protocol finds no data.

    """
    dev = development_partitions(config, data)
    check_fit(config, data, dev)
    worker = make_worker(config, data, communicator, device)
    if isinstance(config.protocol, FoldsProtocol):
        yield from _run_folds(config, worker, dev)
    else:
        yield from _run_epochs(config, worker, dev[0])


def num_steps(config: TrainConfig, data: TrainingData) -> int:
    """How many steps a trial of this config has."""
    return len(development_partitions(config, data)) if isinstance(config.protocol, FoldsProtocol) else min(NUM_REPORTS, config.epochs)


def development_partitions(config: TrainConfig, data: TrainingData) -> list[Partition]:
    """Partitions without any test clip; what each predicts is named `inner`.

    Raises:
        RunError: the protocol finds no data, or too few folds beside those of the test.

    """
    return inner_partitions(config.protocol, data, partitions(config.protocol, data)[0])


@dataclass
class _Seeds:
    """Per seed what was predicted so far, and what that cost."""

    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)
    seconds: float = 0.0
    num_predicted: int = 0

    def add(self, seed: int, predicted: Predicted, data: TrainingData) -> None:
        self.outcomes.setdefault(seed, []).append(to_outcome(predicted, data))
        self.seconds += predicted.seconds
        self.num_predicted += len(predicted.rows)

    def scores(self, model: FusionModel) -> dict[str, float]:
        found = _mean([score(merge(outcomes)) for outcomes in self.outcomes.values()])
        return {**found, MILLISECONDS_PER_CLIP: 1000 * self.seconds / max(1, self.num_predicted), PARAMETERS: _num_parameters(model)}


def _run_folds(config: TrainConfig, worker: Worker, dev: Sequence[Partition]) -> Iterator[TrialStep]:
    seen = _Seeds()
    for number, partition in enumerate(dev, start=1):
        learners = [Learner(config, worker, partition, seed) for seed in config.seeds]
        if config.vectorised:
            fit_together(learners, lambda learner: NoKeeper(), _nothing_is_written)
        else:
            for learner in learners:
                fit(learner, NoKeeper())
        for learner in learners:
            learner.take_best_weights()
            seen.add(learner.seed, learner.predict(partition.test["inner"]), worker.data)
        yield TrialStep(number, len(dev), seen.scores(learners[0].model))


def _run_epochs(config: TrainConfig, worker: Worker, partition: Partition) -> Iterator[TrialStep]:
    learners = [Learner(config, worker, partition, seed) for seed in config.seeds]
    total = min(NUM_REPORTS, config.epochs)
    for number in range(1, total + 1):
        until = math.ceil(config.epochs * number / total)
        for learner in learners:
            while len(learner.history) < until and not learner.is_finished:
                learner.finish_epoch(learner.train_epoch(), NoKeeper())
        is_last = number == total or all(learner.is_finished for learner in learners)
        yield TrialStep(total if is_last else number, total, _dev_scores(learners, is_last))
        if is_last:
            return


def _dev_scores(learners: Sequence[Learner], is_last: bool) -> dict[str, float]:
    """Of the best epoch so far by early stopping, else of the last one; in the end predicted anew with its weights, as a run does."""
    if not is_last:
        rows = [learner.history[learner.best_epoch] for learner in learners]
        return _mean([{key.removeprefix("dev_"): value for key, value in row.items() if key.startswith("dev_")} for row in rows])
    seen = _Seeds()
    for learner in learners:
        learner.take_best_weights()
        assert learner.partition.dev is not None
        seen.add(learner.seed, learner.predict(learner.partition.dev), learner.data)
    return seen.scores(learners[0].model)


def _nothing_is_written(learner: Learner) -> None:
    """The trial predicts when all are trained."""


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """A metric that is undefined for one seed has no mean."""
    names = [name for name in rows[0] if all(name in row and math.isfinite(row[name]) for row in rows)]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def _num_parameters(model: torch.nn.Module) -> float:
    return float(sum(parameter.numel() for parameter in model.parameters()))
