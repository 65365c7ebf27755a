"""The verb `selftrain`: a config -> teachers, rounds of pseudo-labels and students, and what came of them."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mer_ray.core.artefacts import write_json
from mer_ray.core.config import identity_of
from mer_ray.core.table import Table
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.prediction.prediction_table import vote_table
from mer_ray.prediction.voting import WeightedVote
from mer_ray.selftraining.committee import DEV, Committee, Labels, labels_of, make_committee
from mer_ray.selftraining.comparisons import compare_committees, compare_rounds, compare_votes, round_scores
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.fitted import FitAll, Fitted, Job
from mer_ray.selftraining.folder import SelftrainFolder
from mer_ray.selftraining.loading import SelftrainData, load_selftrain_data
from mer_ray.selftraining.pseudo_labels import PseudoLabels
from mer_ray.selftraining.round_facts import pseudo_label_facts
from mer_ray.selftraining.rounds import Round, best_round, best_student, rounds_of, why_ended
from mer_ray.selftraining.warnings import warnings_of
from mer_ray.training.predictions_table import write_table
from mer_ray.training.protocol import partitions
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.train import train_several, with_absolute_paths
from mer_ray.training.training_data import TrainingData

EQUAL_STEPS = "equal_steps"
TRAINED_LONGER = "the teachers trained for the students' steps"


@dataclass(frozen=True)
class SelftrainSummary:
    """The content of selftrain.json; `was_complete` where nothing was left to do."""

    folder: Path
    facts: dict[str, Any]
    was_complete: bool

    def tables(self) -> list[Table]:
        """Rounds and their pseudo-labels, for a terminal."""
        metric, splits = self.facts["metric"], self.facts["splits"]
        columns = ("round", "pseudo-labels", "coverage", "precision", *[f"{metric}, {split}" for split in splits])
        rows = []
        for one in self.facts["rounds"]:
            pseudo = one["pseudo"]
            truth = pseudo and pseudo["truth"]
            rows.append(
                (
                    f"{one['number']}{' (best on dev)' if one['number'] == self.facts['best_round'] else ''}",
                    pseudo and pseudo["num_selected"],
                    pseudo and pseudo["coverage"],
                    truth and truth["precision"],
                    *[one["scores"].get(split, {"vote": {}})["vote"].get(metric) for split in splits],
                )
            )
        complete = [f"{self.folder} was complete already; nothing was trained"] if self.was_complete else []
        notes = (
            *complete,
            *self.facts["notes"],
            *[f"warning: {text}" for text in self.facts["warnings"]],
            f"bundle: {self.folder / 'bundle'}",
        )
        return [Table(f"Self-training: {self.folder.name}", columns, tuple(rows), notes)]


def selftrain(config: SelftrainConfig) -> SelftrainSummary:
    """Train, select, train again until dev stops rising; what a killed one has finished is kept.

    Raises:
        ConfigError, ManifestError, StoreError, PredictionError: the inputs do not fit, or cannot be read.
        RunError: `out` holds something else, labels, features or unlabelled clips are missing, or a loss is no longer finite.
        ClusterError: Ray cannot give what the training asks for.

    """
    start_s = time.monotonic()
    config = config.model_copy(update={"out": config.out.resolve(), "train": with_absolute_paths(config.train)})
    data = load_selftrain_data(config)
    folder = SelftrainFolder(config.out)
    truth = _joined(data.truth)
    digests = {name: one.digest() for name, one in data.by_teacher.items()}
    folder.open(config, identity_of(config, data=digests))
    if folder.is_complete:
        return SelftrainSummary(folder.root, folder.read(folder.facts_path), was_complete=True)
    first = next(iter(data.by_teacher.values()))

    def announce(number: int, pseudo: PseudoLabels | None) -> None:
        if pseudo is not None:
            folder.write_pseudo_labels(number, pseudo, first, truth)

    began_s = time.monotonic()
    rounds = list(rounds_of(config, data.by_teacher, lambda number: fit_in_folders(folder.round_folder(number)), announce))
    seconds = time.monotonic() - began_s
    best = best_round(config, rounds)
    labels = labels_by_split(config, data)
    student = best_student(config, rounds) if config.compare_equal_steps else None
    equal = None if student is None else (train_equal_steps(config, folder, data, student), student)
    facts = describe(config, rounds, best, labels, truth, equal)
    facts["notes"] = _notes(config, rounds, seconds)
    facts |= {"data": digests, "seconds": time.monotonic() - start_s}
    _write_labels(config, folder, data, labels)
    for one in rounds:
        _write_predictions(config, folder, data, one, one.number)
    _write_predictions(config, folder, data, best, None)
    _write_bundle(config, folder, best)
    write_json(folder.facts_path, facts)
    return SelftrainSummary(folder.root, facts, was_complete=False)


def fit_in_folders(root: Path) -> FitAll:
    """Fits that are run folders below `root`: resumed, in parallel where the training says so, with bundles."""

    def fit_all(jobs: Sequence[Job]) -> list[Fitted]:
        wanted = [(job.config.model_copy(update={"out": root / job.teacher}), job.data) for job in jobs]
        train_several(wanted, time.monotonic())
        return [_read_fitted(RunFolder(training.out), job) for (training, _), job in zip(wanted, jobs, strict=True)]

    return fit_all


def _read_fitted(folder: RunFolder, job: Job) -> Fitted:
    (partition,) = partitions(job.config.protocol, job.data)
    assert partition.dev is not None
    classes, values = job.data.task.classes, job.data.task.values
    probs, found = {}, {}
    for split, rows in {DEV: partition.dev, **partition.test}.items():
        table = pq.read_table(folder.predictions_path(split))
        by_seed = [table.filter(pc.equal(table["seed"], seed)) for seed in job.config.seeds]
        assert all(one["clip_id"].to_pylist() == [job.data.clip_ids[row] for row in rows] for one in by_seed)
        probs[split] = np.stack([np.stack([one[f"prob_{name}"].to_numpy() for name in classes], axis=1) for one in by_seed]).astype(float)
        found[split] = {name: np.stack([one[name].to_numpy() for one in by_seed]).astype(float) for name in values}
    return Fitted(probs, found)


def _joined(truth: dict[str, Labels]) -> Labels:
    """The unlabelled splits as one."""
    parts = list(truth.values())
    values = {name: np.concatenate([one.values[name] for one in parts]) for name in parts[0].values}
    return Labels(np.concatenate([one.emotion_N for one in parts]), values)


def labels_by_split(config: SelftrainConfig, data: SelftrainData) -> dict[str, Labels]:
    """What dev, the test splits and the unlabelled splits are scored against, where any of it is known."""
    first = next(iter(data.by_teacher.values()))
    (partition,) = partitions(config.protocol, first)
    assert partition.dev is not None
    found = {DEV: labels_of(first, partition.dev), **{name: labels_of(first, rows) for name, rows in partition.test.items()}}
    return {name: one for name, one in (found | data.truth).items() if (one.emotion_N >= 0).any()}


def train_equal_steps(config: SelftrainConfig, folder: SelftrainFolder, data: SelftrainData, best: Round) -> Committee:
    """The teachers trained for as many steps of the optimiser as the students of a round took: their epochs are raised."""
    jobs = []
    for teacher in config.teachers:
        own = data.by_teacher[teacher.name]
        training, student = (config.training_of(teacher, is_student) for is_student in (False, True))
        (partition,) = partitions(training.protocol, own)
        steps = student.epochs * math.ceil(best.num_train / student.batch_size)
        epochs = max(1, round(steps / math.ceil(len(partition.train) / training.batch_size)))
        jobs.append(Job(teacher.name, training.model_copy(update={"epochs": epochs}), own))
    fitted = fit_in_folders(folder.root / EQUAL_STEPS)(jobs)
    return make_committee(jobs, fitted, config.selection.temperature == "dev")


def describe(
    config: SelftrainConfig,
    rounds: Sequence[Round],
    best: Round,
    labels: dict[str, Labels],
    truth: Labels,
    equal: tuple[Committee, Round] | None,
) -> dict[str, Any]:
    """The content of selftrain.json; `equal`: teachers that took as many steps as the students of a round, and that round."""
    facts: dict[str, Any] = {
        "name": config.out.name,
        "metric": config.train.select_metric,
        "classes": list(best.committee.classes),
        "teachers": [teacher.name for teacher in config.teachers],
        "seeds": config.train.seeds,
        "vote": config.vote.model_dump(mode="json"),
        "selection": config.selection.model_dump(mode="json"),
        "student": config.student.model_dump(mode="json"),
        "splits": list(labels),
        "num_clips": {split: int((one.emotion_N >= 0).sum()) for split, one in labels.items()},
        "best_round": best.number,
        "rounds": [_describe_round(config, one, labels, truth) for one in rounds],
        "compared": compare_rounds(config, rounds, labels),
        "equal_steps": None
        if equal is None
        else compare_committees(config, equal[0], equal[1].committee, labels, TRAINED_LONGER, f"round {equal[1].number}"),
        "votes": compare_votes(config, best.committee, labels),
    }
    facts["warnings"] = warnings_of(facts)
    return facts


def _describe_round(config: SelftrainConfig, one: Round, labels: dict[str, Labels], truth: Labels) -> dict[str, Any]:
    pseudo = one.pseudo
    return {
        "number": one.number,
        "num_train": one.num_train,
        "dev": one.dev_score,
        "scores": round_scores(config, one.committee, labels),
        "pseudo": None if pseudo is None else pseudo_label_facts(pseudo, labels[DEV], truth, config.selection.min_agreement),
    }


def _notes(config: SelftrainConfig, rounds: Sequence[Round], seconds: float) -> list[str]:
    why = why_ended(config, rounds, seconds) or "no unlabelled clip was selected"
    return [
        f"ended after round {rounds[-1].number}: {why}",
        "dev chose the round, and thresholds and temperatures where the config says so: its scores are optimistic",
    ]


def _write_predictions(config: SelftrainConfig, folder: SelftrainFolder, data: SelftrainData, one: Round, number: int | None) -> None:
    first: TrainingData = next(iter(data.by_teacher.values()))
    (partition,) = partitions(config.protocol, first)
    for split, rows in {DEV: partition.dev, **partition.test}.items():
        assert rows is not None
        prior_C = one.committee.prior_of(split) if config.selection.prior == "em" else None
        decision = one.committee.decide(config.vote, split, prior_C)
        values = {name: value_VN.mean(axis=0) for name, value_VN in one.committee.values[split].items()}
        ids = [first.clip_ids[row] for row in rows]
        write_table(folder.predictions_path(split, number), vote_table(ids, decision, values, first.task))


def _write_labels(config: SelftrainConfig, folder: SelftrainFolder, data: SelftrainData, labels: dict[str, Labels]) -> None:
    first: TrainingData = next(iter(data.by_teacher.values()))
    (partition,) = partitions(config.protocol, first)
    rows_of = {DEV: partition.dev, **partition.test}
    for split, known in labels.items():
        rows = rows_of[split]
        assert rows is not None
        emotions = [first.task.classes[number] if number >= 0 else None for number in known.emotion_N]
        columns = {
            "clip_id": [first.clip_ids[row] for row in rows],
            "speaker_id": pa.array([first.speaker_ids[row] for row in rows], pa.string()),
            "emotion": pa.array(emotions, pa.string()),
            **{name: pa.array(value_N, pa.float32(), from_pandas=True) for name, value_N in known.values.items()},
        }
        write_table(folder.labels_path(split), pa.table(columns))


def _write_bundle(config: SelftrainConfig, folder: SelftrainFolder, best: Round) -> None:
    """The best round's models, averaged; of the rules only weights hold there."""
    runs = tuple(folder.run_folder(best.number, teacher.name) for teacher in config.teachers)
    weights = (
        tuple(config.vote.weights.get(teacher.name, 1.0) for teacher in config.teachers) if isinstance(config.vote, WeightedVote) else None
    )
    join_bundles(BundleConfig(runs=runs, weights=weights, out=folder.root / "bundle"))


def plan_selftraining(config: SelftrainConfig) -> list[Table]:
    """What would be trained, without features or Ray."""
    selection = config.selection
    thresholds = f"precision {selection.from_dev.precision:g} on dev" if selection.from_dev else str(selection.threshold or 0.9)
    rows = (
        ("teachers", ", ".join(teacher.name for teacher in config.teachers)),
        ("seeds", ", ".join(map(str, config.train.seeds))),
        ("unlabelled splits", ", ".join(config.unlabelled)),
        ("selected by", f"{thresholds}; {selection.min_agreement} of {config.num_voters} voters agree; prior: {selection.prior}"),
        ("vote", config.vote.name),
        ("rounds", f"up to {config.max_rounds}"),
        ("models to train", f"up to {config.num_voters * (config.max_rounds + 1 + config.compare_equal_steps)}"),
        ("fits at once", str(config.train.num_parallel_fits)),
        ("out", str(config.out)),
    )
    return [Table("Self-training", ("what", "value"), rows)]


def state_of_selftraining(config: SelftrainConfig) -> str:
    """What a dry run of a job says of it."""
    return "finished, unless its data change" if SelftrainFolder(config.out).is_complete else "does what is left"
