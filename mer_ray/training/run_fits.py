"""All fits of a run in turn, on one worker or as one of several."""

from typing import Any

import pyarrow as pa

from mer_ray.core.progress import track
from mer_ray.training.config import TrainConfig
from mer_ray.training.fitting import Learner, fit
from mer_ray.training.predictions_table import to_table
from mer_ray.training.protocol import Partition, partitions
from mer_ray.training.run_folder import CheckpointKeeper, RunFolder
from mer_ray.training.selection import choose_candidate
from mer_ray.training.worker import Worker

Rows = list[dict[str, Any]]


def run_fits(config: TrainConfig, worker: Worker, folder: RunFolder) -> None:
    """Train every partition with every seed; what is finished is skipped, what was interrupted goes on.

    Raises:
        RunError: the protocol finds no data, or a loss is no longer finite.

    """
    communicator = worker.communicator
    found = partitions(config.protocol, worker.data)
    rows: Rows = []
    with track(f"train {folder.root.name}", len(found) * len(config.seeds), "fits") as bar:
        for partition in found:
            done = communicator.agree([folder.fit_folder(partition.fold, seed).is_finished for seed in config.seeds])
            chosen = choose_candidate(config, worker, partition, folder) if config.candidates and not all(done) else config
            for seed, is_done in zip(config.seeds, done, strict=True):
                if not is_done:
                    _run_fit(chosen, worker, partition, seed, folder, rows)
                if communicator.is_main:
                    rows += folder.fit_folder(partition.fold, seed).history()
                    folder.write_metrics(rows)
                    bar.advance()


def _run_fit(config: TrainConfig, worker: Worker, partition: Partition, seed: int, folder: RunFolder, rows_before: Rows) -> None:
    fit_folder = folder.fit_folder(partition.fold, seed)
    learner = Learner(config, worker, partition, seed)
    fit(learner, CheckpointKeeper(folder, fit_folder, rows_before, config.checkpoint_interval_s))
    last_weights = learner.take_best_weights()
    splits = partition.test if partition.dev is None else {"dev": partition.dev, **partition.test}
    predicted = {split: learner.predict(rows) for split, rows in splits.items()}
    if worker.communicator.is_main:
        tables = [to_table(one, worker.data, split, partition.fold, seed) for split, one in predicted.items()]
        summary = {"best_epoch": learner.best_epoch, "history": learner.history}
        fit_folder.finish({"model": last_weights}, _best_state(learner), pa.concat_tables(tables), summary)


def _best_state(learner: Learner) -> dict[str, Any]:
    """The weights that predict, and what is needed to use them: plain values and tensors."""
    task = learner.data.task
    return {
        "model": learner.model.state_dict(),
        "model_config": learner.config.model.model_dump(mode="json"),
        "streams": [[spec.name, spec.modality, spec.dim] for spec in learner.data.specs],
        "classes": list(task.classes),
        "values": list(task.values),
        "normalisation": {name: {"mean": one.mean_D.cpu(), "scale": one.scale_D.cpu()} for name, one in learner.statistics.items()},
        "fold": learner.partition.fold,
        "seed": learner.seed,
        "epoch": learner.best_epoch,
    }
