"""The voters of a round: each model with each seed, their probabilities scaled by dev, and what they decide together.

Shapes: V voters, S seeds, N clips of a split, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mer_ray.objectives import Outcome, apply_temperature, fit_temperature
from mer_ray.prediction.prior_shift import correct_prior, estimate_prior
from mer_ray.prediction.voting import AnyVote, Ballots, Decision, decide
from mer_ray.selftraining.fitted import Fitted, Job
from mer_ray.training.fitting import loss_settings
from mer_ray.training.protocol import partitions
from mer_ray.training.training_data import TrainingData

RealArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
DEV = "dev"


@dataclass(frozen=True)
class Committee:
    """What the models of a round say; `train_prior_C` is the mean of the class shares that they learnt from.

    `teachers` and `seeds` (V,) name the voters; `probs[split]` (V, N, C) are scaled by `temperatures` (V,), 1 = as they are.
    """

    classes: tuple[str, ...]
    teachers: tuple[str, ...]
    seeds: tuple[int, ...]
    probs: dict[str, RealArray]
    values: dict[str, dict[str, RealArray]]
    temperatures: tuple[float, ...]
    train_prior_C: RealArray

    def prior_of(self, split: str) -> RealArray:
        """The shares of the classes in a split, estimated from predictions alone: the mean of what each voter's say.

        The mean of voters is less sure than each of them, so that an estimate from it would miss rare classes.
        """
        found = [estimate_prior(probs_NC, self.train_prior_C) for probs_NC in self.probs[split]]
        return np.asarray(np.mean(found, axis=0))

    def decide(self, rule: AnyVote, split: str, prior_C: RealArray | None = None) -> Decision:
        """The vote on a split; with `prior_C` every voter's probabilities are corrected to it first."""
        probs_VNC = self.probs[split]
        if prior_C is not None:
            probs_VNC = np.stack([correct_prior(probs_NC, self.train_prior_C, prior_C) for probs_NC in probs_VNC])
        return decide(rule, Ballots(self.teachers, self.classes, probs_VNC))

    def outcome(self, decision: Decision, split: str, labels: "Labels") -> Outcome:
        """A vote beside the labels; values are the mean of the voters'."""
        means = {name: value_VN.mean(axis=0) for name, value_VN in self.values[split].items()}
        return labels.beside(decision.class_N, means, len(self.classes))

    def outcomes_of(self, teacher: str, split: str, labels: "Labels") -> list[Outcome]:
        """Each seed of one model beside the labels."""
        voters = [number for number, name in enumerate(self.teachers) if name == teacher]
        return [
            labels.beside(
                self.probs[split][voter].argmax(axis=1),
                {name: value_VN[voter] for name, value_VN in self.values[split].items()},
                len(self.classes),
            )
            for voter in voters
        ]


@dataclass(frozen=True)
class Labels:
    """What is known of a split: `emotion_N` -1 = unknown, `values[name]` (N,) NaN = unknown."""

    emotion_N: IntArray
    values: dict[str, npt.NDArray[np.float32]]

    def beside(self, class_N: IntArray, values: dict[str, RealArray], num_classes: int) -> Outcome:
        """The outcome that metrics take."""
        return Outcome(
            torch.tensor(self.emotion_N),
            torch.tensor(class_N),
            {name: torch.tensor(value_N) for name, value_N in self.values.items()},
            {name: torch.tensor(value_N, dtype=torch.float32) for name, value_N in values.items()},
            num_classes,
        )


def labels_of(data: TrainingData, rows: npt.NDArray[np.int64]) -> Labels:
    """The labels of rows."""
    return Labels(data.emotion_N[rows], {name: value_N[rows] for name, value_N in data.values.items()})


def make_committee(jobs: Sequence[Job], fitted: Sequence[Fitted], scales: bool) -> Committee:
    """The voters of trained models; `scales` fits each one's temperature to dev (see `fit_temperature`; 1 where dev is too small)."""
    data = jobs[0].data
    (partition,) = partitions(jobs[0].config.protocol, data)
    assert partition.dev is not None
    dev_N = torch.tensor(data.emotion_N[partition.dev])
    pairs = [(job, number, seed) for job in jobs for number, seed in enumerate(job.config.seeds)]
    by_teacher = {job.teacher: one for job, one in zip(jobs, fitted, strict=True)}
    dev = [by_teacher[job.teacher].probs[DEV][number] for job, number, _ in pairs]
    temperatures = [(fit_temperature(torch.tensor(probs_NC), dev_N) or 1.0) if scales else 1.0 for probs_NC in dev]
    splits = fitted[0].probs
    return Committee(
        classes=data.task.classes,
        teachers=tuple(job.teacher for job, _, _ in pairs),
        seeds=tuple(seed for _, _, seed in pairs),
        probs={
            split: np.stack(
                [
                    _scaled(by_teacher[job.teacher].probs[split][number], temperature)
                    for (job, number, _), temperature in zip(pairs, temperatures, strict=True)
                ]
            )
            for split in splits
        },
        values={
            split: {
                name: np.stack([by_teacher[job.teacher].values[split][name][number] for job, number, _ in pairs]) for name in data.values
            }
            for split in splits
        },
        temperatures=tuple(temperatures),
        train_prior_C=np.mean([_train_prior(job) for job in jobs], axis=0),
    )


def _scaled(probs_NC: RealArray, temperature: float) -> RealArray:
    return probs_NC if temperature == 1.0 else apply_temperature(torch.tensor(probs_NC), temperature).numpy()


def _train_prior(job: Job) -> RealArray:
    """The class shares that a model learnt: those of its training clips, as the loss weighs them."""
    (partition,) = partitions(job.config.protocol, job.data)
    counts_C = job.data.class_counts(partition.train).astype(np.float64)
    weights_C = loss_settings(job.config, job.data, partition.train).class_weights_C
    weighed_C = counts_C if weights_C is None else counts_C * weights_C.double().numpy()
    return np.asarray(weighed_C / weighed_C.sum())
