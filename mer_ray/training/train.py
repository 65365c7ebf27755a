"""The verb `train`: a config -> a finished run folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.artefacts import write_json
from mer_ray.core.cluster_address import is_on_cluster
from mer_ray.core.config import identity_of
from mer_ray.core.table import Table
from mer_ray.training.bundle_writing import write_bundle
from mer_ray.training.calibration import calibrate
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.data_checks import check_fit
from mer_ray.training.loading import load_training_data
from mer_ray.training.plan import plan_training
from mer_ray.training.predictions_table import write_table
from mer_ray.training.protocol import Partition, partitions
from mer_ray.training.run_facts import chosen_candidates, describe_run, facts_of_fits
from mer_ray.training.run_fits import run_fits
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.scoring import score_splits
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import choose_device, make_worker, precision_on

__all__ = ["RunSummary", "plan_training", "train"]


@dataclass(frozen=True)
class RunSummary:
    """A complete run: `facts` is run.json, `scores` the splits of scores.json; `was_complete` where nothing was left to do."""

    folder: Path
    facts: dict[str, Any]
    scores: dict[str, Any]
    was_complete: bool

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        notes: list[str] = self.facts["notes"]
        return notes

    def table(self) -> Table:
        """Mean scores over seeds, a row per metric, a column per split."""
        metrics = list(dict.fromkeys(name for split in self.scores.values() for name in split["mean"]))
        columns = tuple(f"{name}, {split['num_clips']} clips" for name, split in self.scores.items())
        rows = tuple((metric, *[split["mean"].get(metric) for split in self.scores.values()]) for metric in metrics)
        complete = [f"{self.folder} was complete already; nothing was trained"] if self.was_complete else []
        num_seeds = len(self.facts["seeds"])
        seeds = "one seed" if num_seeds == 1 else f"mean of {num_seeds} seeds"
        about = f"{seeds}; protocol: {self.facts['protocol']}; normalisation: {self.facts['normalisation']}"
        return Table(f"{self.facts['name']} ({self.facts['corpus']})", ("metric", *columns), rows, (*complete, about, *self.notes))


def train(config: TrainConfig) -> RunSummary:
    """Train all folds and seeds, predict, score; resumes what lies in `out`, and returns at once where it is complete.

    Raises:
        ConfigError, ManifestError, StoreError: the inputs do not fit, or cannot be read.
        RunError: `out` holds another run, labels or features are missing, or a loss is no longer finite.
        ClusterError: Ray cannot give `num_workers`.

    """
    config = with_absolute_paths(config)
    start_s = time.monotonic()
    data = load_training_data(config)
    return train_on(config, data, start_s)


def train_on(config: TrainConfig, data: TrainingData, start_s: float) -> RunSummary:
    """As `train`, on data that is loaded; paths in the config are absolute."""
    return train_several([(config, data)], start_s)[0]


def train_several(wanted: Sequence[tuple[TrainConfig, TrainingData]], start_s: float) -> list[RunSummary]:
    """As `train_on`, several runs with one `num_parallel_fits`: above 1, the fits of all of them share the cluster.

    Where a cluster is named, single fits run in its workers, too: the machine of this process may have no GPU.
    """
    opened = [_open(config, data) for config, data in wanted]
    left = [run for run in opened if not run.folder.is_complete]
    if left and _runs_in_tasks(left[0].config):
        # Ray is loaded where it is used only.
        from mer_ray.training.ray_fits import run_fits_in_parallel

        run_fits_in_parallel([(run.config, run.data, run.folder) for run in left])
    else:
        for run in left:
            _run_fits(run)
    ended = {run.folder.root: _finish(run.config, run.data, run.folder, run.found, start_s) for run in left}
    return [ended.get(run.folder.root) or _read(run.folder) for run in opened]


def _runs_in_tasks(config: TrainConfig) -> bool:
    return config.num_parallel_fits > 1 or (is_on_cluster() and config.worker_range[1] == 1)


@dataclass(frozen=True)
class _OpenRun:
    config: TrainConfig
    data: TrainingData
    folder: RunFolder
    found: list[Partition]


def _open(config: TrainConfig, data: TrainingData) -> _OpenRun:
    found = partitions(config.protocol, data)
    check_fit(config, data, found)
    folder = RunFolder(config.out)
    config = _with_known_precision(config)
    identity = identity_of(config, data=data.digest(), precision=config.precision)
    folder.open(config, identity, describe_run(config, data, identity, found))
    return _OpenRun(config, data, folder, found)


def _read(folder: RunFolder) -> RunSummary:
    return RunSummary(folder.root, folder.read_facts(), folder.read_scores()["splits"], was_complete=True)


def _run_fits(run: _OpenRun) -> None:
    if run.config.worker_range[1] > 1:
        # Ray is loaded where it is used only.
        from mer_ray.training.ray_trainer import run_fits_on_ray

        run_fits_on_ray(run.config, run.data, run.folder)
    else:
        run_fits(run.config, make_worker(run.config, run.data, Communicator(), choose_device(run.config)), run.folder)


def _with_known_precision(config: TrainConfig) -> TrainConfig:
    """`precision: auto` as the type that the workers will use: numbers depend on it, so a run must go on with the same."""
    if config.precision != "auto":
        return config
    if config.worker_range[1] == 1 and not _runs_in_tasks(config):
        device_type = choose_device(config).type
    elif config.device == "cpu":
        device_type = "cpu"
    else:
        # Ray is loaded where it is used only.
        from mer_ray.training.ray_resources import find_device_type

        device_type = find_device_type(config)
    return config.model_copy(update={"precision": precision_on(config, device_type)})


def _finish(config: TrainConfig, data: TrainingData, folder: RunFolder, found: list[Partition], start_s: float) -> RunSummary:
    """Pool the predictions of all fits, score them, and mark the run as complete."""
    fits = [folder.fit_folder(partition.fold, seed) for partition in found for seed in config.seeds]
    # Folds may have chosen candidates of other models: what one of them does not tell is null.
    pooled = pa.concat_tables([fit.predictions() for fit in fits], promote_options="default")
    names = dict.fromkeys(pooled["split"].to_pylist())
    tables = {split: pooled.filter(pc.equal(pooled["split"], split)) for split in names}
    for split, table in tables.items():
        write_table(folder.predictions_path(split), table)
    scores = {**score_splits(tables, data.task), "calibration": calibrate(tables, data.task, config.protocol.has_dev)}
    chosen = chosen_candidates(config, folder, found)
    facts = {
        **folder.read_facts(),
        **facts_of_fits(fits),
        "chosen": chosen,
        "seconds": time.monotonic() - start_s,
    }
    write_json(folder.facts_path, facts)
    write_bundle(config, data, folder, found, scores, facts)
    write_json(folder.scores_path, scores)
    return RunSummary(folder.root, facts, scores["splits"], was_complete=False)


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """Paths that hold in any process: Ray's workers have other working folders."""
    store = config.store if "://" in config.store else str(Path(config.store).resolve())
    return config.model_copy(update={"manifest": config.manifest.resolve(), "out": config.out.resolve(), "store": store})
