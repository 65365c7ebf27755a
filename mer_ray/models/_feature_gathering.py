"""Attention-guided feature gathering (AFG): several vectors become one, each with a weight of its own per clip.

The paper (arXiv 2309.07925) names AFG without its formula: every formula here is our choice.
Shapes: B clips, N vectors that are gathered (streams, frames, or gathered groups), D their dimension, H hidden, A attention heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mer_ray.models._masked_softmax import masked_softmax

GatheringName = Literal["afg", "self_attention"]


class Gathering(nn.Module, ABC):
    """(B, N, D) and who is present (B, N) -> gathered (B, D), zero for a clip without any, and float32 weights (B, N)."""

    @abstractmethod
    def forward(self, h_BND: Tensor, present_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Gather; the weights are zero where absent and sum to 1 over what is present."""


class FeatureGathering(Gathering):
    """AFG [ours]: s_i = w^T tanh(W h_i + b), a = softmax(s) over what is present, z = sum_i a_i h_i."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, hidden)
        # Without bias: a softmax does not see a number added to all of its scores.
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, h_BND: Tensor, present_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Gather; `h_BND` may hold anything where absent."""
        h_BND = torch.where(present_BN[:, :, None], h_BND, 0.0)
        scores_BN = self.score(torch.tanh(self.transform(h_BND))).squeeze(2)
        weights_BN = masked_softmax(scores_BN, present_BN)
        return torch.einsum("bn,bnd->bd", weights_BN.to(h_BND.dtype), h_BND), weights_BN


class SelfAttentionGathering(Gathering):
    """The ablation [ours]: one multi-head self-attention layer, then the mean over what is present.

    The weights are the mean attention that each vector receives, over heads and over the vectors that are present.
    """

    def __init__(self, hidden: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden, hidden)
        # Without bias: it would add one number to all scores of a query.
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, hidden)

    def forward(self, h_BND: Tensor, present_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Gather; `h_BND` may hold anything where absent."""
        h_BND = torch.where(present_BN[:, :, None], h_BND, 0.0)
        query_BAND, key_BAND, value_BAND = (self._split(layer(h_BND)) for layer in (self.query, self.key, self.value))
        scores_BANN = query_BAND @ key_BAND.transpose(2, 3) * query_BAND.shape[3] ** -0.5
        attention_BANN = masked_softmax(scores_BANN, present_BN[:, None, None, :].expand_as(scores_BANN))
        heads_BAND = attention_BANN.to(value_BAND.dtype) @ value_BAND
        output_BND = self.output(heads_BAND.transpose(1, 2).flatten(2))
        shares_BN = present_BN / present_BN.sum(dim=1, keepdim=True).clamp_min(1)
        z_BD = (shares_BN[:, :, None] * output_BND).sum(dim=1)
        return z_BD, (shares_BN[:, :, None] * attention_BANN.mean(dim=1)).sum(dim=1)

    def _split(self, x_BND: Tensor) -> Tensor:
        """The heads apart: (B, A, N, D / A)."""
        heads_BNAD = torch.unflatten(x_BND, 2, (self.num_heads, x_BND.shape[2] // self.num_heads))
        return heads_BNAD.transpose(1, 2)


class OnlyOne(Gathering):
    """Of one vector there is nothing to choose: it is itself where present; attention over it would have parameters that never learn."""

    def forward(self, h_BND: Tensor, present_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Take the vector (N = 1)."""
        return torch.where(present_BN, h_BND[:, 0], 0.0), present_BN.float()


def make_gathering(name: GatheringName, hidden: int, num_heads: int) -> Callable[[int], Gathering]:
    """What makes the gathering of a number of vectors of `hidden` numbers."""

    def gather(num_vectors: int) -> Gathering:
        if num_vectors == 1:
            return OnlyOne()
        return FeatureGathering(hidden, hidden) if name == "afg" else SelfAttentionGathering(hidden, num_heads)

    return gather
