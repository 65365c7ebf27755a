"""All fits of a fine-tuning in turn, on one worker or as one of several."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from safetensors.torch import save_file

from mer_ray.core.errors import RunError
from mer_ray.core.progress import track
from mer_ray.encoders._cross_fit import HEAD_FILE
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.fits import Fit
from mer_ray.finetuning.folder import FinetuneFolder
from mer_ray.finetuning.learner import FinetuneLearner, FinetuneWorker
from mer_ray.training.checkpoint import read_checkpoint, write_checkpoint
from mer_ray.training.predictions_table import to_table, write_table
from mer_ray.training.run_folder import FitFolder


def run_finetuning(config: FinetuneConfig, worker: FinetuneWorker, folder: FinetuneFolder, fits: Sequence[Fit]) -> None:
    """Train every fit; what is finished is skipped, what was interrupted goes on from its last checkpoint.

    Raises:
        RunError: a loss is no longer finite, or a checkpoint is damaged.

    """
    names = [fit.name for fit in fits]
    batches = {fit.name: -(-len(fit.partition.train) // config.batch_size) * config.epochs for fit in fits}
    with track(f"finetune {folder.root.name}", sum(batches.values()), "batches") as bar:
        for fit in fits:
            left = batches[fit.name]
            own = folder.fit(fit.name)

            def advance(count: int, note: str) -> None:
                nonlocal left
                if worker.communicator.is_main:
                    left -= count
                    bar.advance(count, note)

            if not worker.communicator.agree(own.is_finished):
                _run_fit(config, worker, folder, fit, names, _epochs(config, folder, fit, fits), advance)
            if left:
                advance(left, fit.name)


def _run_fit(
    config: FinetuneConfig, worker: FinetuneWorker, folder: FinetuneFolder, fit: Fit, names: list[str], epochs: int, advance: Any
) -> None:
    learner, own = FinetuneLearner(config, worker, fit, epochs, advance), folder.fit(fit.name)
    state = worker.communicator.agree(_last_state(own) if worker.communicator.is_main else None)
    if state is not None:
        learner.load_state(state)
        advance(len(learner.history) * learner.num_batches, f"{fit.name}, resumed")
    written_s = time.monotonic()
    while not learner.is_finished:
        learner.train_epoch()
        if worker.communicator.is_main and time.monotonic() - written_s >= config.checkpoint_interval_s:
            write_checkpoint(own.last_path, learner.state())
            folder.write_history(names, learner.history)
            written_s = time.monotonic()
    learner.take_best_weights()
    _finish_fit(config, worker, folder, learner)
    if worker.communicator.is_main:
        folder.write_history(names, [])
    # Nobody starts the next fit before this one is written.
    worker.communicator.agree(True)


def _finish_fit(config: FinetuneConfig, worker: FinetuneWorker, folder: FinetuneFolder, learner: FinetuneLearner) -> None:
    """Predict, write the adapter, and mark the fit as finished."""
    fit, own = learner.fit, folder.fit(learner.fit.name)
    partition = fit.partition
    splits = partition.test if partition.dev is None else {"dev": partition.dev, **partition.test}
    predicted = {split: learner.predict(rows) for split, rows in splits.items()}
    if not worker.communicator.is_main:
        return
    weights = str(getattr(config.encoder, "weights", config.encoder.name))
    config.method.save(folder.adapter / fit.name, learner.network.trained_state(), weights)
    head = {name: tensor.detach().cpu().float().contiguous() for name, tensor in learner.network.head.state_dict().items()}
    save_file(head, folder.adapter / fit.name / HEAD_FILE)
    tables = [to_table(one, learner.data, split, partition.fold, config.seed) for split, one in predicted.items()]
    if tables:
        write_table(own.root / "predictions.parquet", pa.concat_tables(tables))
    own.finish_without_state({"best_epoch": learner.best_epoch, "history": learner.history})


def _last_state(own: FitFolder) -> dict[str, Any] | None:
    if not own.last_path.is_file():
        return None
    state = read_checkpoint(own.last_path)
    if "learnt" not in state:
        raise RunError(f"{own.last_path}: holds no state of a fine-tuning; delete {own.root} to train this part anew")
    return state


def _epochs(config: FinetuneConfig, folder: FinetuneFolder, fit: Fit, fits: Sequence[Fit]) -> int:
    """As many as are asked for; without a dev set as many as the fits that had one took at the median (our choice)."""
    if config.early_stopping is None or fit.partition.dev is not None:
        return config.epochs
    taken: list[int] = [folder.fit(other.name).summary()["best_epoch"] + 1 for other in fits if other.partition.dev is not None]
    return max(1, round(statistics.median(taken)))
