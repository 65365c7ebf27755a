"""The concordance loss of a whole batch, also where workers hold parts of it.

Shapes: B clips of the global batch, V values.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Every worker's rows (B, K) of a tensor of its own rows, in the order of ranks; the gradient flows into the own rows only.
Gather = Callable[[Tensor], Tensor]
SMALLEST_DENOMINATOR = 1e-8


def whole(rows: Tensor) -> Tensor:
    """The `Gather` of a single worker."""
    return rows


def concordance_sums(predicted_BV: Tensor, label_BV: Tensor, gather: Gather, num_workers: int) -> Tensor:
    """Known labels times (1 - CCC) of the global batch (V,), as this worker's share of a sum over workers.

    CCC is no sum over clips: each worker computes that of all gathered predictions. Its value counts 1 / workers here, so that the
    shares add up to the whole; its gradient is the whole one with respect to the worker's own predictions. Labels are NaN = unknown.
    """
    num_values = predicted_BV.shape[1]
    all_BK = gather(torch.cat([predicted_BV, label_BV], dim=1))
    known_BV = ~torch.isnan(all_BK[:, num_values:])
    loss_V = known_BV.sum(dim=0) * (1 - _concordance(all_BK[:, :num_values], all_BK[:, num_values:], known_BV))
    return loss_V - loss_V.detach() * (1 - 1 / num_workers)


def _concordance(predicted_BV: Tensor, label_BV: Tensor, known_BV: Tensor) -> Tensor:
    """CCC (V,) over known labels with population moments (Lin, 1989): 0 for fewer than two, or where one side is constant."""
    count_V = known_BV.sum(dim=0).clamp_min(1)
    predicted_BV = torch.where(known_BV, predicted_BV, 0.0)
    label_BV = torch.where(known_BV, label_BV, 0.0)
    mean_V, label_mean_V = predicted_BV.sum(dim=0) / count_V, label_BV.sum(dim=0) / count_V
    off_BV = torch.where(known_BV, predicted_BV - mean_V, 0.0)
    label_off_BV = torch.where(known_BV, label_BV - label_mean_V, 0.0)
    covariance_V = (off_BV * label_off_BV).sum(dim=0) / count_V
    spread_V = (off_BV.square().sum(dim=0) + label_off_BV.square().sum(dim=0)) / count_V
    return 2 * covariance_V / (spread_V + (mean_V - label_mean_V).square() + SMALLEST_DENOMINATOR)
