"""Trainings and searches as a user starts them, and what tells that two of them ended alike."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.core.config import Config
from mer_ray.training import TrainConfig
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.draws import sample_draws, settle_record
from mer_ray.tuning.ray_study import STUDY_FILE, open_study
from mer_ray.tuning.search_folder import SearchFolder

# What Ray calls a worker in training, and one that runs trials: while it computes a step, and between two.
TRAINING, COMPUTING, WAITING = ("TrainWorker",), ("ResourceTrainable",), ("TrialActor",)
SEARCHING = COMPUTING + WAITING
NUM_TRIALS = 10
# Where a node is lost, Ray Train counts it in for a while, and waits a minute for it by default.
IMPATIENT = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5"}


def verb_words(verb: str, config: Config, folder: Path) -> list[str]:
    """The words after `mer-ray`; the config is written into a file of the folder."""
    path = folder / f"{verb}-{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    return [verb, str(path)]


def verb_command(verb: str, config: Config, folder: Path) -> list[str]:
    return [sys.executable, "-m", "mer_ray.cli", *verb_words(verb, config, folder)]


def end_well(process: subprocess.Popen[str], log: Path) -> None:
    assert process.wait(timeout=600) == 0, log.read_text()[-3000:]


def long_training(corpus: TrainingCorpus, out: str, **changes: object) -> TrainConfig:
    """Some dozen epochs, each with a checkpoint.

    Without dropout the numbers of one and of two workers differ by rounding only; without early stopping rounding chooses no epoch.
    """
    model = {"name": "attention", "hidden": 16, "dropout": 0.0}
    plain = {"batch_size": 10, "epochs": 60, "learning_rate": 2e-3, "model": model, "checkpoint_interval_s": 0.0}
    return corpus.config(out, **plain, **changes)


def has_checkpoint(config: TrainConfig) -> bool:
    return any(config.out.glob("checkpoints/*/last.pt"))


def read_curve(out: Path) -> list[dict]:
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check_trained_alike(out: Path, undisturbed: Path) -> None:
    """The same epochs of the same fits, each once, and the same predictions, but for the rounding of other numbers of workers."""
    ours, expected = read_curve(out), read_curve(undisturbed)
    assert [(row["fold"], row["epoch"]) for row in ours] == [(row["fold"], row["epoch"]) for row in expected]
    assert max(abs(one["train_loss"] - other["train_loss"]) for one, other in zip(ours, expected, strict=True)) < 1e-4
    found, alone = (pq.read_table(folder / "predictions" / "test.parquet") for folder in (out, undisturbed))
    assert found["clip_id"].equals(alone["clip_id"])
    for name in ("prob_neutral", "prob_angry", "prob_happy", "valence"):
        assert np.abs(found[name].to_numpy() - alone[name].to_numpy()).max() < 1e-3


def long_search(corpus: TrainingCorpus, out: str, **train: object) -> TuneConfig:
    """Trials drawn at random, of some seconds each, all to their end: those of another search are the same."""
    plain = {"sampler": {"name": "random"}, "pruner": None, "budget": {"trials": NUM_TRIALS}, "final_seeds": [0], "max_concurrent": 2}
    return search_config(corpus, out, train={"epochs": 150, **train}, resume=True, finalists=1, **plain)


def search_here(config: TuneConfig) -> None:
    """The trials of a search one after the other in this process, and their table: what nothing can disturb."""
    trials = config.target.read(next(iter(sample_draws(config.space, config.seed, 1))))
    with open_study(config, config.space, "here") as study:
        for _ in range(config.budget.trials):
            trial, drawn = study.ask()
            *_, last = trials.run(config.target.parse(drawn))
            study.complete(trial, last.scores, 0.0)
        SearchFolder(config.out).write_trials([settle_record(record, config.space, trials.data.layers) for record in study.records()])


def count_finished(config: TuneConfig) -> int:
    """Trials, as the study tells others."""
    path = config.out / STUDY_FILE
    if not path.is_file():
        return 0
    # Optuna would make the tables that the search is about to make.
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as study, contextlib.suppress(sqlite3.OperationalError):
        (count,) = study.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
        return int(count)
    return 0


def read_finished(config: TuneConfig) -> list[tuple[str, str]]:
    """Parameters and scores of the complete trials, in an order of their own."""
    rows = pq.read_table(config.out / "trials.parquet").to_pylist()
    assert {row["state"] for row in rows} == {"complete"}
    return sorted((json.dumps(json.loads(row["params"]), sort_keys=True), row["values"]) for row in rows)
