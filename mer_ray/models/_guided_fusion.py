"""One stream guides the others: CBT on each of them, AMF over all.

Shapes: B clips, S streams, T tokens, G guide tokens, H width.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mer_ray.core.batch import StreamSpec
from mer_ray.models._context_transformer import ContextTransformer
from mer_ray.models._multimodal_fusion import AdaptiveFusion
from mer_ray.models._streams import masked_mean


class GuidedFusion(nn.Module):
    """h_{guide->m} = CBT_m(guide, m) for every other stream m, then AMF over these and h_guide, the mean of the guide's tokens.

    Ours: a learnt token is added to every token of the guide, and stands alone where the guide is absent, so that the other streams
    still are asked for something.
    """

    def __init__(
        self,
        streams: Sequence[StreamSpec],
        guide: int,
        width: int,
        num_heads: int,
        feed_forward: int,
        num_layers: int,
        dropout: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.guide = guide
        self.is_guide_pooled = not streams[guide].is_sequence
        # Of length one about: a cosine has no direction to learn from at zero.
        self.absent_guide = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.context_transformers = nn.ModuleList(
            ContextTransformer(width, num_heads, feed_forward, num_layers, dropout, not spec.is_sequence, self.is_guide_pooled)
            for number, spec in enumerate(streams)
            if number != guide
        )
        self.adaptive_fusion = AdaptiveFusion(width, len(streams), temperature)

    def forward(self, tokens: Sequence[tuple[Tensor, Tensor]], present_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fused z (B, H), AMF's weights (B, S) and h_guide (B, H) from each stream's tokens (B, T, H) and mask (B, T)."""
        guide_BGH, mask_BG = self._guide_tokens(*tokens[self.guide], present_BS[:, self.guide])
        guide_BH = masked_mean(guide_BGH, mask_BG)
        others = [pair for number, pair in enumerate(tokens) if number != self.guide]
        vectors = [
            transformer(guide_BGH, mask_BG, x_BTH, mask_BT)
            for transformer, (x_BTH, mask_BT) in zip(self.context_transformers, others, strict=True)
        ]
        vectors.insert(self.guide, guide_BH)
        z_BH, weights_BS = self.adaptive_fusion(guide_BH, torch.stack(vectors, dim=1), present_BS)
        return z_BH, weights_BS, guide_BH

    def _guide_tokens(self, x_BTH: Tensor, mask_BT: Tensor, present_B: Tensor) -> tuple[Tensor, Tensor]:
        """The guide's tokens (B, G, H) and mask (B, G), with the learnt token."""
        if self.is_guide_pooled:
            return torch.where(mask_BT[:, :, None], x_BTH, 0.0) + self.absent_guide, torch.ones_like(mask_BT)
        absent_B1H = self.absent_guide.expand(x_BTH.shape[0], 1, -1)
        return torch.cat([absent_B1H, x_BTH + self.absent_guide], dim=1), torch.cat([~present_B[:, None], mask_BT], dim=1)
