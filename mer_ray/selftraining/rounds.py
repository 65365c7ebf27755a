"""The rounds of self-training, as arrays: what trains models and what becomes of a round's result is the caller's.

Shapes: U unlabelled clips, C classes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mer_ray.core.counting import say_count
from mer_ray.objectives import is_better, score
from mer_ray.selftraining.committee import DEV, Committee, Labels, labels_of, make_committee
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.fitted import FitAll, Fitted, Job
from mer_ray.selftraining.pseudo_labels import IntArray, PseudoLabels, make_pseudo_labels, with_pseudo_labels
from mer_ray.training.protocol import partitions
from mer_ray.training.training_data import TrainingData

# Told of the number of a round and of what its students will learn from, before they do.
Announce = Callable[[int, PseudoLabels | None], None]


@dataclass(frozen=True)
class Round:
    """A finished round: `pseudo` is what its students learnt from (None in round 0), `dev_score` that of the vote."""

    number: int
    committee: Committee
    pseudo: PseudoLabels | None
    dev_score: float
    num_train: int


def rounds_of(
    config: SelftrainConfig, data: dict[str, TrainingData], fit: Callable[[int], FitAll], announce: Announce = lambda *_: None
) -> Iterator[Round]:
    """Train round after round and give each when it is finished; ends as `SelftrainConfig` says.

    `data` by teacher: the same clips in the same order, without any label of the unlabelled part. `fit(number)` trains a round's models.
    Whoever prunes stops asking.
    """
    start_s = time.monotonic()
    first = next(iter(data.values()))
    dev, rows = _dev_labels(config, first), unlabelled_rows(config, first)
    done: list[Round] = []
    while not done or why_ended(config, done, time.monotonic() - start_s) is None:
        pseudo = make_pseudo_labels(config, done[-1].committee, dev, rows) if done else None
        if pseudo is not None and not pseudo.selected_U.any():
            return
        announce(len(done), pseudo)
        jobs = jobs_of(config, data, pseudo)
        done.append(_finish(config, len(done), pseudo, jobs, fit(len(done))(jobs), dev))
        yield done[-1]


def why_ended(config: SelftrainConfig, done: Sequence[Round], seconds: float) -> str | None:
    """Why no other round begins after so many seconds; None where it does if clips are selected."""
    last = done[-1]
    if last.number == config.max_rounds:
        return f"max_rounds is {config.max_rounds}"
    if last.number - best_round(config, done).number >= config.patience:
        return f"dev has not risen for {say_count(config.patience, 'round')}"
    if config.budget_s is not None and seconds > config.budget_s:
        return f"the budget of {config.budget_s:g} s is spent"
    return None


def best_round(config: SelftrainConfig, rounds: Sequence[Round]) -> Round:
    """The first of those with the best dev score."""
    best = rounds[0]
    for one in rounds[1:]:
        if is_better(config.train.select_metric, one.dev_score, best.dev_score):
            best = one
    return best


def best_student(config: SelftrainConfig, rounds: Sequence[Round]) -> Round | None:
    """The best round after the teachers; None where there is none."""
    return best_round(config, rounds[1:]) if len(rounds) > 1 else None


def jobs_of(config: SelftrainConfig, data: dict[str, TrainingData], pseudo: PseudoLabels | None) -> list[Job]:
    """What a round trains."""
    jobs = []
    for teacher in config.teachers:
        own = data[teacher.name]
        training = config.training_of(teacher, is_student=pseudo is not None)
        jobs.append(Job(teacher.name, training, own if pseudo is None else with_pseudo_labels(own, pseudo, config.student)))
    return jobs


def unlabelled_rows(config: SelftrainConfig, data: TrainingData) -> dict[str, IntArray]:
    """The rows of each unlabelled split."""
    (partition,) = partitions(config.protocol, data)
    return {name: partition.test[name] for name in config.unlabelled}


def _finish(config: SelftrainConfig, number: int, pseudo: PseudoLabels | None, jobs: list[Job], fitted: list[Fitted], dev: Labels) -> Round:
    committee = make_committee(jobs, fitted, config.selection.temperature == "dev")
    prior_C = committee.prior_of(DEV) if config.selection.prior == "em" else None
    dev_score = score(committee.outcome(committee.decide(config.vote, DEV, prior_C), DEV, dev))[config.train.select_metric]
    (partition,) = partitions(jobs[0].config.protocol, jobs[0].data)
    return Round(number, committee, pseudo, dev_score, len(partition.train))


def _dev_labels(config: SelftrainConfig, data: TrainingData) -> Labels:
    (partition,) = partitions(config.protocol, data)
    assert partition.dev is not None
    return labels_of(data, partition.dev)
