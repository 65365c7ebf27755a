"""One worker of a training: the data on its device, and its link to the others."""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from mer_ray.core.errors import RunError
from mer_ray.training.communicator import Communicator
from mer_ray.training.config import TrainConfig
from mer_ray.training.device_clips import DeviceClips
from mer_ray.training.training_data import TrainingData


class NamesDevice(Protocol):
    """A config that says where to compute."""

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]:
        """`auto`: a GPU where there is one."""


class ComputeSettings(NamesDevice, Protocol):
    """What a config says of where and in what type a training computes."""

    @property
    def precision(self) -> Literal["auto", "float32", "bfloat16"]:
        """`auto` is bfloat16 autocast on a GPU."""


@dataclass(frozen=True)
class Worker:
    """`dtype` is what matrix products run in."""

    data: TrainingData
    clips: DeviceClips
    communicator: Communicator
    dtype: torch.dtype


def make_worker(config: TrainConfig, data: TrainingData, communicator: Communicator, device: torch.device) -> Worker:
    """Put the data on the device.

    Raises:
        RunError: speaker normalisation without speakers, or a GPU that Ray claims and torch cannot use.

    """
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RunError("device: Ray says that this machine has a GPU, but torch can use none there; set device: cpu where GPUs are logical")
    return Worker(data, DeviceClips(data, config.normalise, device), communicator, compute_type(config, device))


def compute_type(config: ComputeSettings, device: torch.device) -> torch.dtype:
    """`precision: auto` is bfloat16 autocast on a GPU, float32 on a CPU."""
    return torch.bfloat16 if precision_on(config, device.type) == "bfloat16" else torch.float32


def precision_on(config: ComputeSettings, device_type: str) -> Literal["float32", "bfloat16"]:
    """The name of the compute type on `cpu` or `cuda`."""
    if config.precision == "auto":
        return "bfloat16" if device_type == "cuda" else "float32"
    return config.precision


def choose_device(config: NamesDevice) -> torch.device:
    """The device of a computation in this process.

    Raises:
        RunError: `device: cuda` where there is none.

    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise RunError("device: cuda, but this machine has no GPU that torch can use; set device: auto or cpu")
    return torch.device("cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu")
