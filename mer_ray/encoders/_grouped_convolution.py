"""Grouped convolutions in bfloat16 on CPUs, without oneDNN: on processors with AMX its results are wrong (torch 2.14.1, seen 100 % off)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def compute_without_onednn(model: nn.Module) -> None:
    """Let the grouped convolutions of a model run on torch's own kernels."""
    for module in model.modules():
        if isinstance(module, nn.Conv1d) and module.groups > 1:
            setattr(module, "forward", _guarded(module.forward))  # noqa: B010 - a method is not assigned to


def _guarded(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def compute(values: Tensor) -> Tensor:
        with _without_onednn():
            return forward(values)

    return compute


@contextmanager
def _without_onednn() -> Iterator[None]:
    was_enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.set_flags(_enabled=False)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=was_enabled)
