"""A GroupNorm over time that does not see padding.

Shapes: B clips, C channels, T frames.
"""

import torch
from torch import Tensor, nn


class ClipGroupNorm(nn.Module):
    """A GroupNorm of one channel per group whose statistics come from each clip's own frames, not from its padding.

    `num_frames_B` is set before each forward pass. (B, C, T) in, (B, C, T) out.
    """

    num_frames_B: Tensor

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Normalise every channel of every clip."""
        num_frames_B11 = self.num_frames_B[:, None, None]
        is_padding_B1T = torch.arange(x_BCT.shape[2], device=x_BCT.device) >= num_frames_B11
        values_BCT = x_BCT.float()
        mean_BC1 = values_BCT.masked_fill(is_padding_B1T, 0).sum(dim=2, keepdim=True) / num_frames_B11
        centred_BCT = (values_BCT - mean_BC1).masked_fill(is_padding_B1T, 0)
        variance_BC1 = centred_BCT.square().sum(dim=2, keepdim=True) / num_frames_B11
        scale_BC1 = torch.rsqrt(variance_BC1 + self.eps) * self.weight[:, None].float()
        return (centred_BCT * scale_BC1 + self.bias[:, None].float()).to(x_BCT.dtype)
