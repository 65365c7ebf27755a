"""Grouped convolutions in bfloat16 on CPUs, without oneDNN: on processors with AMX its results are wrong (torch 2.14.1, seen 100 % off)."""

from typing import Any

import torch
from torch import nn


def compute_without_onednn(model: nn.Module) -> None:
    """Let the grouped convolutions of a model run on torch's own kernels; the rest of a process keeps what it has."""
    was_enabled = torch.backends.mkldnn.enabled

    def leave(module: nn.Module, *_: Any) -> None:
        torch.backends.mkldnn.set_flags(_enabled=False)

    def come_back(module: nn.Module, *_: Any) -> None:
        torch.backends.mkldnn.set_flags(_enabled=was_enabled)

    for module in model.modules():
        if isinstance(module, nn.Conv1d) and module.groups > 1:
            module.register_forward_pre_hook(leave)
            # Also where the convolution fails, as it does when memory runs out.
            module.register_forward_hook(come_back, always_call=True)
