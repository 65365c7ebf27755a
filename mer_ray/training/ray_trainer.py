"""The fits of a run on several workers: Ray Train starts them, DDP joins their gradients, the loop is the same as for one.

The run folder must be one that all nodes see; the data travels through Ray's object store, once per node.
"""

import shutil
import uuid
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.exceptions import WorkerGroupError

from mer_ray.core.errors import ClusterError, MerRayError
from mer_ray.core.ray_session import ray_session
from mer_ray.training.communicator import DistributedCommunicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.run_fits import run_fits
from mer_ray.training.run_folder import RunFolder
from mer_ray.training.training_data import TrainingData
from mer_ray.training.worker import make_worker


def run_fits_on_ray(config: TrainConfig, data: TrainingData, folder: RunFolder) -> None:
    """Train all fits with `num_workers` workers, one CPU and, where the cluster has enough, one GPU each.

    Raises:
        ClusterError: no cluster, one too small that cannot grow, or a worker that died.
        RunError: as `run_fits`.

    """
    scratch = folder.root / "ray"
    with ray_session():
        use_gpu = _use_gpu(config)
        trainer = TorchTrainer(
            _run_worker,
            train_loop_config={"config": config, "folder": folder, "data": ray.put(data)},
            scaling_config=ray.train.ScalingConfig(num_workers=config.num_workers, use_gpu=use_gpu),
            # Train resumes silently when a name repeats; our own checkpoints resume, and say so.
            run_config=ray.train.RunConfig(name=uuid.uuid4().hex, storage_path=str(scratch)),
        )
        try:
            trainer.fit()
        except WorkerGroupError as error:
            raise _own_error(error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def find_device_type(config: TrainConfig) -> str:
    """`cuda` where the cluster has a GPU for every worker, else `cpu`.

    Raises:
        ClusterError: as `run_fits_on_ray`.

    """
    with ray_session():
        return "cuda" if _use_gpu(config) else "cpu"


def _run_worker(job: dict[str, Any]) -> None:
    config: TrainConfig = job["config"]
    data: TrainingData = ray.get(job["data"])
    run_fits(config, make_worker(config, data, DistributedCommunicator(), get_device()), job["folder"])


def _use_gpu(config: TrainConfig) -> bool:
    """Whether workers get a GPU each.

    Raises:
        ClusterError: `device: cuda` without enough GPUs, or a local Ray with fewer CPUs than workers, which would wait for ever.

    """
    resources = ray.cluster_resources()
    num_gpus, num_cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if config.device == "cuda" and num_gpus == 0:
        raise ClusterError("device: cuda, but the Ray cluster has no GPU; set device: auto or cpu")
    if len(ray.nodes()) == 1 and num_cpus < config.num_workers:
        raise ClusterError(f"num_workers: {config.num_workers}, but Ray has {num_cpus} CPUs here; set num_workers to at most {num_cpus}")
    return config.device != "cpu" and num_gpus >= config.num_workers


def _own_error(error: WorkerGroupError) -> MerRayError:
    """The error that a worker raised, out of Ray's wrapping."""
    for failure in error.worker_failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, MerRayError):
                return cause
            cause = getattr(cause, "_base_exc", None) or cause.__cause__
    first = next(iter(error.worker_failures.items()))
    return ClusterError(
        f"training worker {first[0]} died: {str(first[1]).strip().splitlines()[-1]}; start the run again to go on from its checkpoint"
    )
