"""The fits of a run on several workers: Ray Train starts them, DDP joins their gradients, the loop is the same as for one.

The run folder must be one that all nodes see; the data travels through Ray's object store, once per node.
"""

import json
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from mer_ray.core.artefacts import write_json
from mer_ray.core.counting import say_count
from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.core.ray_session import ray_session
from mer_ray.training.communicator import Communicator, DistributedCommunicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.ray_resources import WorkerSettings, use_gpu
from mer_ray.training.run_fits import run_fits
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import make_worker

ERROR_NAME = "error.json"
# What a worker does, with its link to the others, on its device.
Work = Callable[[Communicator, torch.device], None]
KINDS: dict[str, type[MerRayError]] = {kind.__name__: kind for kind in MerRayError.__subclasses__()}


class RayCommunicator(DistributedCommunicator):
    """The workers of a Ray Train run."""

    @property
    def is_preempted(self) -> bool:
        """Whether Ray was told that a node of this training goes; all workers ask, and hear the same."""
        return ray.train.get_preemption_info() is not None


def run_fits_on_ray(config: TrainConfig, data: TrainingData, folder: RunFolder) -> None:
    """Train all fits with `num_workers` workers, one CPU and, where the cluster has enough, one GPU each.

    Workers that die are started anew, with [min, max] as many as there is room for, and go on from the last checkpoint.

    Raises:
        ClusterError: no cluster, one too small that cannot grow, or workers that died more than `max_failures` times.
        RunError: as `run_fits`.

    """
    with ray_session():
        run_on_workers(partial(_run_fits, config, folder, ray.put(data)), config, folder.root / "ray")


def run_on_workers(work: Work, config: WorkerSettings, scratch: Path) -> None:
    """Do `work` on all workers of a process group; `scratch` is a folder that all of them see, which goes at the end.

    Raises:
        ClusterError: as `run_fits_on_ray`.
        MerRayError: the first of our own errors, which is not tried again.

    """
    low, high = config.worker_range
    # Ray's own annotation lacks the pair.
    workers: Any = low if low == high else (low, high)
    # An error that a killed run left there is none of this one.
    shutil.rmtree(scratch, ignore_errors=True)
    trainer = TorchTrainer(
        _run_worker,
        train_loop_config={"work": work, "scratch": scratch},
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=use_gpu(config)),
        # Train resumes silently when a name repeats; our own checkpoints resume, and say so.
        run_config=ray.train.RunConfig(
            name=uuid.uuid4().hex,
            storage_path=str(scratch),
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
        ),
    )
    try:
        trainer.fit()
        _raise_own_error(scratch)
    except (WorkerGroupError, ControllerError) as error:
        _raise_own_error(scratch)
        raise ClusterError(
            f"training workers died {say_count(config.max_failures + 1, 'time')}, at last: {_say_failure(error)}; "
            "start the run again to go on from its checkpoint, or raise max_failures"
        ) from error
    except RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise ClusterError(f"what leads the training workers died: {reason}; start the run again to go on from its checkpoint") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_fits(
    config: TrainConfig, folder: RunFolder, data: ray.ObjectRef[TrainingData], communicator: Communicator, device: torch.device
) -> None:
    run_fits(config, make_worker(config, ray.get(data), communicator, device), folder)


def _run_worker(job: dict[str, Any]) -> None:
    """Do the work; an error of our own is left for the driver, and not tried again."""
    if (job["scratch"] / ERROR_NAME).is_file():
        return
    work: Work = job["work"]
    try:
        work(RayCommunicator(), get_device())
    except MerRayError as error:
        write_json(job["scratch"] / ERROR_NAME, {"kind": type(error).__name__, "message": str(error)})
        raise


def _raise_own_error(scratch: Path) -> None:
    path = scratch / ERROR_NAME
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        raise KINDS[found["kind"]](found["message"])


def _say_failure(error: Exception) -> str:
    failures = getattr(error, "worker_failures", None)
    shown = next(iter(failures.values())) if failures else error
    last = (str(shown).strip().splitlines() or [""])[-1]
    # Ray's own say in words what died; those of a program are little without their type.
    return last if isinstance(shown, (RayError, ControllerError, WorkerGroupError)) else f"{type(shown).__name__}: {last}"
