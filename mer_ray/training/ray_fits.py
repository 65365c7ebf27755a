"""The fits of a run in parallel on a cluster, a worker each."""

from collections.abc import Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.core.progress import track
from mer_ray.core.ray_machines import largest_node_cpus, size_at_most
from mer_ray.core.ray_session import ray_session
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.determinism import determinism
from mer_ray.training.protocol import Partition, partitions
from mer_ray.training.ray_resources import use_gpu
from mer_ray.training.run_fits import FitName, fit_names, run_some_fits, write_curves
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import make_worker


def run_fits_in_parallel(runs: Sequence[tuple[TrainConfig, TrainingData, RunFolder]]) -> None:
    """Train at most `num_parallel_fits` at once, one CPU (alone: those of a machine) and, where there are GPUs, a share of one each.

    The folders are ones that all nodes see; several runs share the cluster by the settings of the first.

    Raises:
        ClusterError: no cluster, or one whose workers die.
        RunError: as `run_fits`.

    """
    how = runs[0][0]
    names = [fit_names(config, partitions(config.protocol, data)) for config, data, _ in runs]
    label = ", ".join(folder.root.name for _, _, folder in runs)
    with ray_session(), track(f"train {label}", sum(map(len, names)), "fits") as bar:
        share = _gpu_share(how)
        # Alone it may have a machine's cores.
        num_threads = 1 if share or how.num_parallel_fits > 1 else max(1, largest_node_cpus())
        task = ray.remote(num_cpus=num_threads, num_gpus=share, max_retries=how.max_failures)(_run_unit)
        arguments = [(config, ray.put(data), folder, "cuda" if share else "cpu") for config, data, folder in runs]
        waiting = [
            (n, unit) for n, (config, data, folder) in enumerate(runs) for unit in units(config, partitions(config.protocol, data), folder)
        ]
        running = dict[Any, tuple[int, list[FitName]]]()
        bar.advance(sum(map(len, names)) - sum(len(unit) for _, unit in waiting))
        while waiting or running:
            while waiting and len(running) < how.num_parallel_fits:
                number, unit = waiting.pop(0)
                running[task.remote(*arguments[number], unit, num_threads)] = number, unit
            (done,), _ = ray.wait(list(running))
            _finish(done)
            number, unit = running.pop(done)
            bar.advance(len(unit))
            write_curves(runs[number][2], names[number])


def units(config: TrainConfig, found: list[Partition], folder: RunFolder) -> list[list[FitName]]:
    """What is left, in units that run apart: fits, folds where an inner loop chooses for all seeds, or all fits as one computation."""
    left = [name for name in fit_names(config, found) if not folder.fit_folder(*name).is_finished]
    if config.vectorised:
        return [left] if left else []
    if config.candidates:
        folds = dict.fromkeys(fold for fold, _ in left)
        return [[name for name in left if name[0] == fold] for fold in folds]
    return [[name] for name in left]


def _gpu_share(config: TrainConfig) -> float:
    if not use_gpu(config):
        return 0.0
    return min(1.0, size_at_most().num_gpus / config.num_parallel_fits)


def _run_unit(config: TrainConfig, data: TrainingData, folder: RunFolder, device: str, names: list[FitName], num_threads: int) -> None:
    if not folder.facts_path.is_file():
        raise ClusterError(f"out: {folder.root}: a machine of the cluster does not see it; name a folder that all of them mount")
    torch.set_num_threads(num_threads)
    worker = make_worker(config, data, Communicator(), torch.device(device))
    with determinism(config.deterministic):
        run_some_fits(config, worker, folder, names, lambda: None, _nobody_sees_the_rows)


def _nobody_sees_the_rows(rows: list[dict[str, Any]]) -> None:
    """The driver writes the curves of finished fits; several workers would overwrite each other's."""


def _finish(done: Any) -> None:
    try:
        ray.get(done)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MerRayError):
            raise cause from error
        raise
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"a worker of the training died: {reason}; start the run again to go on from its checkpoints") from error
