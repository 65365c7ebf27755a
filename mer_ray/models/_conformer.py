"""The conformer of VAVL (Gulati et al., 2020, arXiv 2005.08100, in the sizes and details of VAVL's code), padding left out everywhere.

Shapes: B clips, T frames, H width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_ray.models._masked_batch_norm import MaskedBatchNorm
from mer_ray.models._relative_attention import RelativeAttention

NormName = Literal["batch", "layer"]


@dataclass(frozen=True)
class ConformerSizes:
    """`norm` is that inside the convolution module: batch [code], or layer [ours], which needs no statistics of a batch."""

    width: int
    num_heads: int
    feed_forward_expansion: int
    kernel: int
    dropout: float
    norm: NormName


class FeedForward(nn.Sequential):
    """LayerNorm -> Linear -> Swish -> dropout -> Linear -> dropout [code]."""

    def __init__(self, sizes: ConformerSizes) -> None:
        inner = sizes.width * sizes.feed_forward_expansion
        super().__init__(
            nn.LayerNorm(sizes.width),
            nn.Linear(sizes.width, inner),
            nn.SiLU(),
            nn.Dropout(sizes.dropout),
            nn.Linear(inner, sizes.width),
            nn.Dropout(sizes.dropout),
        )


class Convolution(nn.Module):
    """LayerNorm -> pointwise x 2 -> GLU -> depthwise without bias -> norm -> Swish -> pointwise -> dropout [code]."""

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(sizes.width)
        # A convolution of length 1 is a linear layer over frames.
        self.expand = nn.Linear(sizes.width, 2 * sizes.width)
        self.depthwise = nn.Conv1d(sizes.width, sizes.width, sizes.kernel, padding=sizes.kernel // 2, groups=sizes.width, bias=False)
        self.norm = MaskedBatchNorm(sizes.width) if sizes.norm == "batch" else nn.LayerNorm(sizes.width)
        self.reduce = nn.Linear(sizes.width, sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """Filter over time; padding counts as zero, as beyond the ends of a clip."""
        gated_BTH = functional.glu(self.expand(self.layer_norm(x_BTH)), dim=2)
        filtered_BTH = self.depthwise(torch.where(mask_BT[:, :, None], gated_BTH, 0.0).transpose(1, 2)).transpose(1, 2)
        normed_BTH = self.norm(filtered_BTH, mask_BT) if isinstance(self.norm, MaskedBatchNorm) else self.norm(filtered_BTH)
        filtered: Tensor = self.dropout(self.reduce(functional.silu(normed_BTH)))
        return filtered


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each inside a residual; LayerNorm at the end [code]."""

    def __init__(self, sizes: ConformerSizes) -> None:
        super().__init__()
        self.feed_forward = FeedForward(sizes)
        self.attention_norm = nn.LayerNorm(sizes.width)
        self.attention = RelativeAttention(sizes.width, sizes.num_heads, sizes.dropout)
        self.attention_dropout = nn.Dropout(sizes.dropout)
        self.convolution = Convolution(sizes)
        self.last_feed_forward = FeedForward(sizes)
        self.last_norm = nn.LayerNorm(sizes.width)

    def forward(self, x_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """One block."""
        x_BTH = x_BTH + 0.5 * self.feed_forward(x_BTH)
        x_BTH = x_BTH + self.attention_dropout(self.attention(self.attention_norm(x_BTH), mask_BT))
        x_BTH = x_BTH + self.convolution(x_BTH, mask_BT)
        x_BTH = x_BTH + 0.5 * self.last_feed_forward(x_BTH)
        normed: Tensor = self.last_norm(x_BTH)
        return normed


class Conformer(nn.Module):
    """A linear layer with dropout to the width, then blocks [code]."""

    def __init__(self, input_width: int, num_blocks: int, sizes: ConformerSizes) -> None:
        super().__init__()
        self.projection = nn.Linear(input_width, sizes.width)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.dropout = nn.Dropout(sizes.dropout)
        self.blocks = nn.ModuleList(ConformerBlock(sizes) for _ in range(num_blocks))

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Frames (B, T, H)."""
        x_BTH: Tensor = self.dropout(self.projection(x_BTD))
        for block in self.blocks:
            x_BTH = block(x_BTH, mask_BT)
        return x_BTH
