"""Trials that a group of workers trains together, in a search on a Ray of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from chaos_processes import started, wait_for, working
from chaos_verbs import SEARCHING, TRAINING, end_well, search_here, verb_command
from local_clusters import client_of_new_cluster, write_config
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.training import TrainConfig, train
from mer_ray.tuning.config import TuneConfig

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


def group_search(corpus: TrainingCorpus, out: str, num_workers: int, **changes: Any) -> TuneConfig:
    """A random trial without dropout, so that groups and single workers differ by rounding only."""
    model = {"name": "attention", "hidden": {"search": "int", "low": 8, "high": 16}, "dropout": 0.0}
    train = {"model": model, "num_workers": num_workers, "epochs": 20, "batch_size": 10}
    few = {"sampler": {"name": "random"}, "pruner": None, "budget": {"trials": 1}, "finalists": 1, "final_seeds": [0]}
    return search_config(corpus, out, train=train, **(few | changes))


@pytest.fixture
def tuning(tmp_path: Path) -> Iterator[Any]:
    opened = []

    def start(config: TuneConfig) -> tuple[subprocess.Popen[str], Path]:
        log = tmp_path / f"{config.out.name}.log"
        block = started(verb_command("tune", config, tmp_path), log)
        opened.append(block)
        return block.__enter__(), log

    yield start
    for block in opened:
        block.__exit__(None, None, None)


def at_work(process: "subprocess.Popen[str]", log: Path, before: set[int]) -> list[psutil.Process]:
    """The workers of a group, once there are some that were not there before."""
    found: list[psutil.Process] = wait_for(
        "a group at work",
        lambda: process.poll() is not None or [one for one in working(process.pid, *TRAINING) if one.pid not in before],
    )
    assert process.poll() is None, log.read_text()[-3000:]
    return found


def trials_of(config: TuneConfig) -> list[dict[str, Any]]:
    return sorted(pq.read_table(config.out / "trials.parquet").to_pylist(), key=lambda row: row["params"])


def test_groups_of_two_score_what_single_workers_score_and_kills_cost_no_trial(searched: TrainingCorpus, tuning: Any):
    alone, together = group_search(searched, "alone", 1), group_search(searched, "together", 2)
    search_here(alone)
    process, log = tuning(together)
    workers = at_work(process, log, set())
    os.kill(workers[0].pid, signal.SIGKILL)
    # What leads the group that takes its place, while that starts.
    at_work(process, log, {one.pid for one in workers})
    os.kill(working(process.pid, *SEARCHING)[0].pid, signal.SIGKILL)
    end_well(process, log)

    found, expected = trials_of(together), trials_of(alone)
    assert [row["params"] for row in found] == [row["params"] for row in expected]
    assert {row["state"] for row in found} == {"complete"}
    for one, other in zip(found, expected, strict=True):
        assert json.loads(one["values"])["weighted_f1"] == pytest.approx(json.loads(other["values"])["weighted_f1"], abs=0.02)
    best = yaml.safe_load((together.out / "best.yaml").read_text())
    trained = train(TrainConfig.model_validate({**best, "num_workers": 1, "out": searched.folder / "best_alone"}))
    final = json.loads((together.out / "search.json").read_text())["final"]
    assert final["mean"] == pytest.approx(trained.scores[final["split"]]["mean"]["weighted_f1"], abs=0.02)
    assert not together.scratch.exists()


def test_machines_come_for_groups_and_a_pruned_one_gives_its_workers_back(searched: TrainingCorpus, tmp_path: Path):
    # Three machines of one CPU are the most: a group fits, and another one only when the first has gone.
    config = group_search(searched, "pruned", 2, pruner={"name": "median", "min_trials": 1}, budget={"trials": 3})
    with (
        client_of_new_cluster(tmp_path) as client,
        client.mer_ray("tune", write_config(tmp_path / "search.yaml", config.model_dump(mode="json"))) as command,
    ):
        command.wait()

    states = [row["state"] for row in pq.read_table(config.out / "trials.parquet").to_pylist()]
    assert sorted(set(states)) == ["complete", "pruned"]
