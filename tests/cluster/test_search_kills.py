"""Searches whose driver, workers or nodes are killed, and that go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from chaos_processes import kill, say, started, wait_for, working
from searches import search_config
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_study import STUDY_FILE

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]

NUM_KILLS = 5
NUM_TRIALS = 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    return make_corpus(tmp_path_factory.mktemp("searched"), noise=1.5)


def config_of(corpus: TrainingCorpus, out: str) -> TuneConfig:
    """Trials drawn at random, of some seconds each, all to their end: those of another search are the same."""
    plain = {"sampler": {"name": "random"}, "pruner": None, "budget": {"trials": NUM_TRIALS}, "final_seeds": [0], "max_concurrent": 2}
    return search_config(corpus, out, train={"epochs": 60}, resume=True, **plain)


class Search:
    """One `mer-ray tune` in a process of its own."""

    def __init__(self, config: TuneConfig, process: subprocess.Popen[str], log: Path) -> None:
        self.config, self.process, self.log = config, process, log

    @property
    def num_finished(self) -> int:
        """As the study tells others."""
        import optuna

        path = self.config.out / STUDY_FILE
        if not path.is_file():
            return 0
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        try:
            study = optuna.load_study(study_name=self.config.study_name, storage=storage)
            return len(study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]))
        except KeyError:
            return 0
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def finish(self) -> None:
        """Wait for a good end."""
        assert self.process.wait(timeout=600) == 0, self.log.read_text()[-3000:]


@pytest.fixture
def searching(tmp_path: Path) -> Iterator[Any]:
    opened = []

    def start(config: TuneConfig, address: str) -> Search:
        path = tmp_path / f"{config.out.name}.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        log = tmp_path / f"{config.out.name}-{len(opened)}.log"
        block = started([sys.executable, "-m", "mer_ray.cli", "tune", str(path)], log, RAY_ADDRESS=address)
        opened.append(block)
        return Search(config, block.__enter__(), log)

    yield start
    for block in opened:
        block.__exit__(None, None, None)


def read_finished(config: TuneConfig) -> list[tuple[str, str]]:
    """Parameters and scores of the complete trials, in an order of their own."""
    rows = pq.read_table(config.out / "trials.parquet").to_pylist()
    assert {row["state"] for row in rows} == {"complete"}
    return sorted((json.dumps(json.loads(row["params"]), sort_keys=True), row["values"]) for row in rows)


@pytest.fixture(scope="module")
def undisturbed(corpus: TrainingCorpus, head: tuple[str, int], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    config = config_of(corpus, "undisturbed")
    path = tmp_path_factory.mktemp("undisturbed") / "search.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    with started([sys.executable, "-m", "mer_ray.cli", "tune", str(path)], path.with_suffix(".log"), RAY_ADDRESS=head[0]) as process:
        assert process.wait(timeout=600) == 0, path.with_suffix(".log").read_text()[-3000:]
    return read_finished(config)


def test_a_search_killed_five_times_has_the_trials_of_an_undisturbed_one(corpus, head, searching, undisturbed):
    config = config_of(corpus, "killed")
    generator = random.Random(5)
    for number in range(NUM_KILLS):
        search = searching(config, head[0])
        wanted = (number + 1) * (NUM_TRIALS - 4) // NUM_KILLS
        wait_for("some trials", lambda search=search, wanted=wanted: search.process.poll() is not None or search.num_finished >= wanted)
        time.sleep(generator.uniform(0, 1.5))
        assert search.process.poll() is None, search.log.read_text()[-3000:]
        os.kill(search.process.pid, signal.SIGKILL)
        search.process.wait()
        say(f"killed with {search.num_finished} finished trials")
    searching(config, head[0]).finish()

    assert len(undisturbed) == NUM_TRIALS
    assert read_finished(config) == undisturbed


def test_a_search_whose_workers_are_killed_ends_with_the_same_trials(corpus, head, searching, undisturbed):
    config = config_of(corpus, "workers_killed")
    search = searching(config, head[0])
    num_killed = 0
    for wanted in (2, 6, 10):
        wait_for("some trials", lambda wanted=wanted: search.process.poll() is not None or search.num_finished >= wanted)
        victims = wait_for("a trial at work", lambda: search.process.poll() is not None or working(head[1], "TrialActor"))
        num_killed += kill(victims[0])
    search.finish()

    assert num_killed == 3
    assert read_finished(config) == undisturbed
