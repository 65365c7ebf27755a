"""A fine-tuning on several workers: Ray Train starts them, DDP joins their gradients.

`out`, with the decoded clips, must be a folder that all nodes see.
"""

from collections.abc import Sequence
from functools import partial

import ray
import torch

from mer_ray.core.ray_session import ray_session
from mer_ray.finetuning.config import FinetuneConfig
from mer_ray.finetuning.fits import Fit
from mer_ray.finetuning.folder import FinetuneFolder
from mer_ray.finetuning.inputs import ClipInputs
from mer_ray.finetuning.learner import FinetuneWorker
from mer_ray.finetuning.run_fits import run_finetuning
from mer_ray.training.communicator import Communicator
from mer_ray.training.ray_trainer import run_on_workers
from mer_ray.training.training_data import TrainingData


def run_finetuning_on_ray(
    config: FinetuneConfig, data: TrainingData, inputs: ClipInputs, folder: FinetuneFolder, fits: Sequence[Fit]
) -> None:
    """Train all fits with `num_workers` workers, one CPU and, where the cluster has enough, one GPU each.

    Raises:
        ClusterError: no cluster, one too small, or workers that died more than `max_failures` times.
        RunError: as `run_finetuning`.

    """
    with ray_session():
        run_on_workers(partial(_run, config, ray.put((data, inputs, list(fits))), folder), config, folder.root / "ray")


def _run(
    config: FinetuneConfig,
    shared: "ray.ObjectRef[tuple[TrainingData, ClipInputs, list[Fit]]]",
    folder: FinetuneFolder,
    communicator: Communicator,
    device: torch.device,
) -> None:
    data, inputs, fits = ray.get(shared)
    run_finetuning(config, FinetuneWorker(data, inputs, communicator, device), folder, fits)
