"""Fusion without a guide: the control of guided fusion, and what it falls back on.

Shapes: B clips, T tokens, S streams, H width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mer_ray.models._context_transformer import TransformerBlock
from mer_ray.models._streams import masked_mean


class PlainFusion(nn.Module):
    """The guide-free control [ours]: self-attention over the tokens of all streams, then each stream's mean, then the mean of these."""

    def __init__(self, width: int, num_heads: int, feed_forward: int, num_layers: int, dropout: float, is_single_token: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, num_heads, feed_forward, dropout, is_single_token) for _ in range(num_layers))

    def forward(self, tokens: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """The fused z (B, H) from each stream's tokens (B, T, H) and mask (B, T); zero for a clip without any."""
        x_BTH = torch.cat([x_BTH for x_BTH, _ in tokens], dim=1)
        mask_BT = torch.cat([mask_BT for _, mask_BT in tokens], dim=1)
        for block in self.blocks:
            x_BTH = block(x_BTH, x_BTH, mask_BT)
        lengths = [mask_BT.shape[1] for _, mask_BT in tokens]
        parts = torch.split(x_BTH, lengths, dim=1)
        # By stream first: frames do not outvote a pooled stream.
        means_BSH = torch.stack([masked_mean(part_BTH, mask) for part_BTH, (_, mask) in zip(parts, tokens, strict=True)], dim=1)
        return masked_mean(means_BSH, torch.stack([mask.any(dim=1) for _, mask in tokens], dim=1))
