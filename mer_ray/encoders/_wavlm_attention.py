"""WavLM's gated relative attention through torch's scaled dot product attention.

transformers computes it with attention weights that nobody reads, and with a mask of a kind that torch gives up.

Shapes: B clips, T frames, D hidden size, H heads.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor


def use_sdpa(model: Any) -> None:
    """Replace the sum over keys in all blocks of a WavLM; positions, gates and weights stay transformers' own."""
    for block in model.encoder.layers:
        block.attention.torch_multi_head_self_attention = partial(_attend, block.attention)


def _attend(attention: Any, x_BTD: Tensor, mask_BT: Tensor | None, bias_NTT: Tensor) -> tuple[Tensor, None]:
    """Self-attention with a bias (N = B * H) on its scores, over frames that the mask marks as real."""
    num_clips, num_frames, _ = x_BTD.shape
    queries, keys, values = (
        project(x_BTD).view(num_clips, num_frames, attention.num_heads, attention.head_dim).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    bias_BHTT = bias_NTT.view(num_clips, attention.num_heads, num_frames, num_frames)
    if mask_BT is not None:
        bias_BHTT = bias_BHTT.masked_fill(~mask_BT.bool()[:, None, None, :], -torch.inf)
    heads_BHTD = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias_BHTT)
    joined_BTD = heads_BHTD.transpose(1, 2).reshape(num_clips, num_frames, attention.embed_dim)
    output_BTD: Tensor = attention.out_proj(joined_BTD)
    return output_BTD, None
