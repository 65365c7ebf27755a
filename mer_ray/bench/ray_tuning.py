"""What a search costs beside its trainings: time per trial, throughput beside Optuna alone, and memory for features."""

import gc
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import ray
import torch

from mer_ray.batching import StoredArray
from mer_ray.bench.command import run_command
from mer_ray.bench.figure import Figure
from mer_ray.bench.ray_optuna_side import STUDY
from mer_ray.core.errors import RunError
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.ray_study import open_study, read_span_s
from mer_ray.tuning.ray_tuner import run_trials
from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.search_data import SearchData, read_search_data
from mer_ray.tuning.trials import Trainings

NUM_TRIALS, TRIAL_S, NUM_PROCESSES = 24, 5.0, 2
FEW_EPOCHS = 4
NUM_SHARING, COPIES, SHARING_TRIALS = 8, 100, 16
SAMPLE_INTERVAL_S = 0.25


def measure_tuning() -> list[Figure]:
    """`tune.*`, on planted features of 600 clips; Ray's start and the training of the best are no part of any figure."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_command(["mer_ray.cli", "synth", "--features", f"out={folder}/planted", "num_clips=600"])
        plain = _config(folder, FEW_EPOCHS)
        trials = Trainings(read_search_data(plain.target.raw, plain.target.training(_low(plain)), "train"))
        seconds = _seconds_of_trial(plain, trials)
        config = _config(folder, max(1, round(FEW_EPOCHS * TRIAL_S / seconds)))
        ours_s, cost_s = _search(config, trials)
        optuna_s = _optuna_alone(config, folder)
        copies = _copies(_config(folder, 4 * FEW_EPOCHS), trials)
    note = f"{NUM_TRIALS} trials of about {TRIAL_S:g} s, {NUM_PROCESSES} at once"
    beside = f"{note} on each side, first begin to last end: ours {ours_s:.1f} s, Optuna alone {optuna_s:.1f} s"
    return [
        Figure("tune.trial_cost_s", cost_s, "s", "lower", 0.3, f"{note}; time of an actor between trainings, its first trial apart"),
        Figure("tune.trials_over_optuna", optuna_s / ours_s, "x", "higher", 0.9, beside),
        Figure("tune.feature_copies_8", copies, "x", "lower", 1.1, f"{NUM_SHARING} trials at once; shared once, plus what each has alone"),
    ]


def _config(folder: Path, epochs: int) -> TuneConfig:
    return TuneConfig.model_validate(
        {
            "out": folder / "search",
            "train": {
                "manifest": str(folder / "planted" / "manifest.parquet"),
                "store": str(folder / "planted" / "store"),
                "protocol": {"name": "folds", "test_folds": [0]},
                "inputs": [{"encoder": f"planted_{name}"} for name in ("audio", "vision", "text")],
                "learning_rate": {"search": "float", "low": 1e-3, "high": 1.1e-3},
                "epochs": epochs,
                "device": "cpu",
            },
            "sampler": {"name": "random"},
            "pruner": None,
            "budget": {"trials": NUM_TRIALS},
            "max_concurrent": NUM_PROCESSES,
        }
    )


def _low(config: TuneConfig) -> dict[str, Any]:
    """The draw of the lowest values."""
    return config.space.fill(lambda dimension: dimension.low)


def _seconds_of_trial(config: TuneConfig, trials: Trainings) -> float:
    start_s = time.perf_counter()
    for _ in trials.run(config.target.parse(_low(config))):
        pass
    return time.perf_counter() - start_s


def _run(config: TuneConfig, trials: Trainings) -> list[TrialRecord]:
    """The trials of a search, without the training of its best."""
    with open_study(config, config.space, "bench") as study:
        run_trials(study, trials, trials.num_steps(config.target.parse(_low(config))), config.target.parse, use_gpu=False)
        return study.records()


def _search(config: TuneConfig, trials: Trainings) -> tuple[float, float]:
    """Seconds from the first trial's begin to the last one's end, and what a trial costs beyond its training."""
    spans = [(record.started_s or 0.0, record.ended_s or 0.0, record.seconds) for record in _run(config, trials)]
    ends_s = sorted(end_s for _, end_s, _ in spans)
    # An actor's first trial waits for its process; a later one has it from the end of the trial before, the one that is free first.
    later = zip(sorted(spans)[NUM_PROCESSES:], ends_s[:-NUM_PROCESSES], strict=True)
    costs_s = [end_s - free_s - training_s for (_, end_s, training_s), free_s in later]
    return ends_s[-1] - min(spans)[0], sum(costs_s) / len(costs_s)


def _optuna_alone(config: TuneConfig, folder: Path) -> float:
    path, storage = folder / "optuna.json", f"sqlite:///{folder}/optuna.sqlite"
    path.write_text(config.model_dump_json())
    command = [sys.executable, "-m", "mer_ray.bench.ray_optuna_side", str(path), storage, str(NUM_TRIALS // NUM_PROCESSES)]
    # One makes the study; two that make the same tables at once disturb each other.
    sides = []
    for _ in range(NUM_PROCESSES):
        sides.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))  # noqa: S603 - our own module
        time.sleep(3.0 if len(sides) < NUM_PROCESSES else 0.0)
    for side in sides:
        _, errors = side.communicate()
        if side.returncode:
            raise RunError(f"bench: Optuna alone exited {side.returncode}: {errors[-2000:]}")
    return read_span_s(storage, STUDY)


def _copies(config: TuneConfig, trials: Trainings) -> float:
    """Memory for features of trials at once over the features' bytes: of the same models, many clips less few clips."""
    few, many = trials.data, _repeated(trials.data, COPIES)
    few_bytes, many_bytes = (_private_bytes(config, Trainings(data)) for data in (few, many))
    return 1.0 + (many_bytes - few_bytes) / (many.num_bytes - few.num_bytes)


def _repeated(data: SearchData, times: int) -> SearchData:
    """The same clips many times over; only some are in the folds that train, so that trials last as long."""
    clips = data.clips
    names = [f"{clip_id}/{number}" for number in range(times) for clip_id in clips.clip_ids]
    folds_N = np.concatenate([clips.folds_N, np.full((times - 1) * clips.num_clips, -1)])
    repeated = replace(
        clips,
        clip_ids=names,
        speaker_ids=clips.speaker_ids * times,
        splits=clips.splits * times,
        folds_N=folds_N,
        emotion_N=np.tile(clips.emotion_N, times),
    )
    features = {
        name: replace(
            one,
            present_N=np.tile(one.present_N, times),
            columns={key: cast(StoredArray, np.tile(column_ND, (times, 1))) for key, column_ND in one.columns.items()},
        )
        for name, one in data.features.items()
    }
    return replace(data, clips=repeated, features=features)


def _private_bytes(config: TuneConfig, trials: Trainings) -> float:
    """The most memory that trials had for themselves, all together, while `NUM_SHARING` of them ran."""
    most, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_INTERVAL_S):
            actors = [process for process in psutil.Process().children(recursive=True) if _is_trial(process)]
            if len(actors) == NUM_SHARING:
                most[0] = max(most[0], sum(_private(process) for process in actors))

    with tempfile.TemporaryDirectory() as name, _ray_with(NUM_SHARING):
        watcher = threading.Thread(target=watch)
        watcher.start()
        changes = {"out": Path(name) / "search", "budget": config.budget.model_copy(update={"trials": SHARING_TRIALS})}
        _run(config.model_copy(update={**changes, "max_concurrent": NUM_SHARING}), trials)
        ended.set()
        watcher.join()
    gc.collect()
    return most[0]


@contextmanager
def _ray_with(num_cpus: int) -> Iterator[None]:
    """A Ray with so many logical CPUs, whatever the machine has."""
    ray.init(num_cpus=num_cpus, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _is_trial(process: psutil.Process) -> bool:
    try:
        return "TrialActor" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _private(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
