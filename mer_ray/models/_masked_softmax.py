"""Softmax over what is there.

Shapes: any; the softmax runs over the last dimension.
"""

import torch
from torch import Tensor

# The lowest finite number, not -inf: where nothing is allowed that would give NaN.
LOWEST = torch.finfo(torch.float32).min


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax in float32 over allowed places only (mask True): zero elsewhere, and throughout where none is allowed."""
    weights = torch.softmax(scores.float().masked_fill(~mask, LOWEST), dim=-1)
    return torch.where(mask, weights, 0.0)
