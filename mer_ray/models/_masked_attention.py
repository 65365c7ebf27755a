"""Multi-head attention over tokens of which some are padding.

Shapes: B clips, Q query tokens, K key tokens, H width, N heads, E width of a head (H / N).
"""

import math

import torch
from torch import Tensor, nn

from mer_ray.models._masked_softmax import LOWEST


def check_heads(hidden: int, num_heads: int) -> None:
    """Refuse a width that heads cannot share.

    Raises:
        ValueError: for the validator of a model's config.

    """
    if hidden % num_heads:
        raise ValueError(f"num_heads: {num_heads} heads cannot share hidden {hidden} evenly; choose a divisor of it")


class MaskedAttention(nn.Module):
    """softmax(Q K^T / sqrt(E)) V per head, then a linear layer (Vaswani et al. 2017, section 3.2), over the keys that are real.

    Ours: keys and the output have no bias, so that queries without any real key get exactly zero; no dropout on the weights.
    `is_single_key`: there is never more than one key, a pooled stream. Its weight is 1 whatever the query, so queries and keys need
    no layers. The scores are written out because torch's fused kernels lack rules for `torch.func.vmap` on the CPU.
    """

    def __init__(self, width: int, num_heads: int, is_single_key: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = None if is_single_key else nn.Linear(width, width)
        self.key = None if is_single_key else nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, queries_BQH: Tensor, keys_BKH: Tensor, mask_BK: Tensor) -> Tensor:
        """What each query gathers from the keys, (B, Q, H); padded keys must be finite."""
        # Values of padding are zero and not only their weights: a softmax over nothing is uniform.
        values_BKH = torch.where(mask_BK[:, :, None], self.value(keys_BKH), 0.0)
        if self.query is None or self.key is None:
            gathered_B1H: Tensor = self.output(values_BKH)
            return gathered_B1H.expand(-1, queries_BQH.shape[1], -1)
        queries_BNQE = self._heads(self.query(queries_BQH)) / math.sqrt(queries_BQH.shape[2] // self.num_heads)
        scores_BNQK = (queries_BNQE @ self._heads(self.key(keys_BKH)).mT).float()
        # Added, which is cheaper than filled in: the lowest number swallows any score.
        barred_BK = torch.where(mask_BK, 0.0, LOWEST)
        weights_BNQK = torch.softmax(scores_BNQK + barred_BK[:, None, None, :], dim=3)
        gathered_BNQE = weights_BNQK.to(values_BKH.dtype) @ self._heads(values_BKH)
        gathered_BQH: Tensor = self.output(gathered_BNQE.transpose(1, 2).flatten(2))
        return gathered_BQH

    def _heads(self, x_BKH: Tensor) -> Tensor:
        """(B, N, K, E)."""
        num_clips, num_tokens, width = x_BKH.shape
        return x_BKH.reshape(num_clips, num_tokens, self.num_heads, width // self.num_heads).transpose(1, 2)
