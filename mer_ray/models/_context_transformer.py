"""Transformer blocks in which the tokens of one stream are seen from those of another.

Shapes: B clips, G guide tokens, T tokens, Q query tokens, K key tokens, H width.
"""

from torch import Tensor, nn

from mer_ray.models._masked_attention import MaskedAttention
from mer_ray.models._streams import masked_mean


class TransformerBlock(nn.Module):
    """x' = LayerNorm(x + attention(x, keys)); x'' = LayerNorm(x' + W_2 GELU(W_1 x')) (Vaswani et al. 2017; GELU and dropout are ours)."""

    def __init__(self, width: int, num_heads: int, feed_forward: int, dropout: float, is_single_key: bool = False) -> None:
        super().__init__()
        self.attention = MaskedAttention(width, num_heads, is_single_key)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, feed_forward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feed_forward, width))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries_BQH: Tensor, keys_BKH: Tensor, mask_BK: Tensor) -> Tensor:
        """The queries with what they gather from real keys, (B, Q, H)."""
        x_BQH = self.attention_norm(queries_BQH + self.dropout(self.attention(queries_BQH, keys_BKH, mask_BK)))
        transformed_BQH: Tensor = self.feed_forward_norm(x_BQH + self.dropout(self.feed_forward(x_BQH)))
        return transformed_BQH


class ContextTransformer(nn.Module):
    """CBT, the context-based transformer of arXiv 2409.05007, in which a guide leads another stream.

    The paper names its parts and gives no formulas; ours: a block whose queries are the guide's tokens and whose keys and values are
    the stream's, then a block of self-attention over the result (the context); both `num_layers` times; h_{guide->m} is the mean
    over the guide's real tokens.
    """

    def __init__(
        self, width: int, num_heads: int, feed_forward: int, num_layers: int, dropout: float, is_pooled: bool, is_guide_pooled: bool
    ) -> None:
        super().__init__()

        def blocks(is_single_key: bool) -> nn.ModuleList:
            return nn.ModuleList(TransformerBlock(width, num_heads, feed_forward, dropout, is_single_key) for _ in range(num_layers))

        self.cross_blocks = blocks(is_pooled)
        self.self_blocks = blocks(is_guide_pooled)

    def forward(self, guide_BGH: Tensor, guide_mask_BG: Tensor, x_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """h_{guide->m} (B, H)."""
        context_BGH = guide_BGH
        for cross_block, self_block in zip(self.cross_blocks, self.self_blocks, strict=True):
            context_BGH = cross_block(context_BGH, x_BTH, mask_BT)
            context_BGH = self_block(context_BGH, context_BGH, guide_mask_BG)
        return masked_mean(context_BGH, guide_mask_BG)
