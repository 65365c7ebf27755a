"""All fits of a run in turn, on one worker or as one of several."""

import resource
import sys
from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa
import torch

from mer_ray.core.progress import track
from mer_ray.training.config import TrainConfig
from mer_ray.training.determinism import determinism
from mer_ray.training.fitting import Learner, fit
from mer_ray.training.predictions_table import to_table
from mer_ray.training.protocol import Partition, partitions
from mer_ray.training.run_folder import CheckpointKeeper, FitFolder, RunFolder
from mer_ray.training.selection import choose_candidate
from mer_ray.training.together import fit_together
from mer_ray.training.worker import Worker

# A partition's fold and a seed.
FitName = tuple[int | None, int]


def run_fits(config: TrainConfig, worker: Worker, folder: RunFolder) -> None:
    """Train every partition with every seed; what is finished is skipped, what was interrupted goes on.

    Raises:
        RunError: the protocol finds no data, or a loss is no longer finite.

    """
    found = partitions(config.protocol, worker.data)
    names = fit_names(config, found)
    with track(f"train {folder.root.name}", len(names), "fits") as bar:

        def finished() -> None:
            if worker.communicator.is_main:
                write_curves(folder, names)
                bar.advance()

        def curve(rows: list[dict[str, Any]]) -> None:
            write_curves(folder, names, rows)

        with determinism(config.deterministic):
            run_some_fits(config, worker, folder, names, finished, curve)


def run_some_fits(
    config: TrainConfig,
    worker: Worker,
    folder: RunFolder,
    names: Collection[FitName],
    finished: Callable[[], None],
    curve: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Train these fits; `finished` is told of each, also of those that were before, and `curve` the rows of those that go on."""
    found = partitions(config.protocol, worker.data)
    if config.vectorised:
        _run_together(config, worker, folder, found, names)
        for _ in names:
            finished()
        return
    for partition in found:
        seeds = [seed for fold, seed in names if fold == partition.fold]
        done = worker.communicator.agree([folder.fit_folder(partition.fold, seed).is_finished for seed in seeds])
        chosen = choose_candidate(config, worker, partition, folder) if config.candidates and not all(done) else config
        for seed, is_done in zip(seeds, done, strict=True):
            if not is_done:
                learner = Learner(chosen, worker, partition, seed)
                fit_folder = folder.fit_folder(partition.fold, seed)
                fit(learner, CheckpointKeeper(fit_folder, curve, config.checkpoint_interval_s))
                finish_fit(learner, fit_folder)
            finished()


def fit_names(config: TrainConfig, found: Collection[Partition]) -> list[FitName]:
    """All fits of a run, in order."""
    return [(partition.fold, seed) for partition in found for seed in config.seeds]


def write_curves(folder: RunFolder, names: Collection[FitName], going_on: Collection[dict[str, Any]] = ()) -> None:
    """metrics.jsonl: the rows of all finished fits, and those of the ones that go on."""
    fits = [folder.fit_folder(fold, seed) for fold, seed in names]
    rows = [row for one in fits if one.is_finished for row in one.history()]
    folder.write_metrics([*rows, *going_on])


def _run_together(config: TrainConfig, worker: Worker, folder: RunFolder, found: list[Partition], names: Collection[FitName]) -> None:
    learners = []
    for partition in found:
        seeds = [seed for fold, seed in names if fold == partition.fold and not folder.fit_folder(fold, seed).is_finished]
        learners += [Learner(config, worker, partition, seed) for seed in seeds]
    going_on: dict[FitName, list[dict[str, Any]]] = {}

    def keeper(learner: Learner) -> CheckpointKeeper:
        name = (learner.partition.fold, learner.seed)

        def curve(rows: list[dict[str, Any]]) -> None:
            going_on[name] = rows
            write_curves(folder, names, [row for listed in going_on.values() for row in listed])

        return CheckpointKeeper(folder.fit_folder(*name), curve, config.checkpoint_interval_s)

    def finish(learner: Learner) -> None:
        going_on.pop((learner.partition.fold, learner.seed), None)
        finish_fit(learner, folder.fit_folder(learner.partition.fold, learner.seed))

    fit_together(learners, keeper, finish)


def finish_fit(learner: Learner, folder: FitFolder) -> None:
    """Predict with the best weights and write all that a finished fit leaves."""
    last_weights = learner.take_best_weights()
    partition = learner.partition
    splits = partition.test if partition.dev is None else {"dev": partition.dev, **partition.test}
    predicted = {split: learner.predict(rows) for split, rows in splits.items()}
    losses = learner.losses(predicted["dev"]) if partition.dev is not None else None
    if not learner.communicator.is_main:
        return
    tables = [to_table(one, learner.data, split, partition.fold, learner.seed) for split, one in predicted.items()]
    num_predicted = sum(len(one.rows) for one in predicted.values())
    cost = {
        "milliseconds_per_clip": 1000 * sum(one.seconds for one in predicted.values()) / max(1, num_predicted),
        "peak_memory_mb": _peak_memory_mb(learner.device),
    }
    if learner.best is not None and learner.config.keep_best > 1:
        folder.write_best_epochs(learner.best)
    summary = {
        "best_epoch": learner.best_epoch,
        "history": learner.history,
        "learnt": learner.model.learnt(),
        "cost": cost,
        "losses": losses,
    }
    folder.finish({"model": last_weights}, _best_state(learner), pa.concat_tables(tables), summary)


def _peak_memory_mb(device: torch.device) -> float:
    """The most that this process had: on a GPU of its memory, else of the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _best_state(learner: Learner) -> dict[str, Any]:
    """The weights that predict, and what is needed to use them: plain values and tensors."""
    task = learner.data.task
    return {
        "model": learner.model.state_dict(),
        "model_config": learner.config.model.model_dump(mode="json"),
        "streams": [[spec.name, spec.modality, spec.dim, spec.is_sequence] for spec in learner.data.specs],
        "classes": list(task.classes),
        "values": list(task.values),
        "normalisation": {name: {"mean": one.mean_D.cpu(), "scale": one.scale_D.cpu()} for name, one in learner.statistics.items()},
        "fold": learner.partition.fold,
        "seed": learner.seed,
        "epoch": learner.best_epoch,
    }
