"""BatchNorm over real frames only, of all workers' clips together.

Shapes: B clips, T frames, H width.
"""

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

MOMENTUM, EPSILON = 0.1, 1e-5


class MaskedBatchNorm(nn.Module):
    """`torch.nn.BatchNorm1d` (Ioffe & Szegedy, 2015) whose statistics leave out padding [ours] and, in training, sum over workers.

    A batch without any real frame moves no running statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """Normalise all frames, float32; padded ones come out as anything finite where they went in finite."""
        x_BTH = x_BTH.float()
        mean_H, variance_H = self._batch_statistics(x_BTH, mask_BT) if self.training else (self.running_mean, self.running_var)
        return (x_BTH - mean_H) * torch.rsqrt(variance_H + EPSILON) * self.weight + self.bias

    def _batch_statistics(self, x_BTH: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        real_BT1 = mask_BT[:, :, None]
        num_frames = _sum_over_workers(mask_BT.sum().float())
        divisor = num_frames.clamp_min(1)
        mean_H = _sum_over_workers(torch.where(real_BT1, x_BTH, 0.0).sum(dim=(0, 1))) / divisor
        variance_H = _sum_over_workers(torch.where(real_BT1, x_BTH - mean_H, 0.0).square().sum(dim=(0, 1))) / divisor
        with torch.no_grad():
            # Running variances are unbiased, as torch's.
            unbiased_H = variance_H * divisor / (divisor - 1).clamp_min(1)
            momentum = torch.where(num_frames > 0, MOMENTUM, 0.0)
            # Not `lerp_`, which has no rule for `torch.func.vmap`.
            self.running_mean.mul_(1 - momentum).add_(momentum * mean_H.detach())
            self.running_var.mul_(1 - momentum).add_(momentum * unbiased_H)
        return mean_H, variance_H


class _SumOverWorkers(torch.autograd.Function):
    """A sum over workers; each worker's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """All-reduce a copy."""
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """All-reduce the gradient."""
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


def _sum_over_workers(x: Tensor) -> Tensor:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    total: Tensor = _SumOverWorkers.apply(x)
    return total
