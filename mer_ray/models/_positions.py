"""Where a frame stands in its sequence.

Shapes: T frames, H width.
"""

import math

import torch
from torch import Tensor

SLOWEST = 10_000.0


def sinusoidal_positions(num_frames: int, width: int, device: torch.device) -> Tensor:
    """Sines (even places) and cosines (odd places) of the frame's number, float32 (T, H) (Vaswani et al. 2017, section 3.5)."""
    frequencies_F = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(SLOWEST) / width))
    angles_TF = torch.arange(num_frames, device=device)[:, None] * frequencies_F
    return torch.stack([angles_TF.sin(), angles_TF.cos()], dim=2).flatten(1)[:, :width]
