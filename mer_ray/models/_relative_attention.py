"""Self-attention with relative positions, as in VAVL's conformer.

Shapes: B clips, T frames (I of queries, J of keys), H width, N heads, E width of a head (H / N).
"""

import math

import torch
from torch import Tensor, nn

from mer_ray.models._masked_softmax import masked_softmax
from mer_ray.models._positions import sinusoidal_positions


class RelativeAttention(nn.Module):
    """softmax(((q + u) k^T + shift((q + v) p^T)) / sqrt(H)) V (after Dai et al., 2019, arXiv 1901.02860) [code].

    u, v are learnt per head, p is a bias-free projection of sinusoidal positions; the divisor is sqrt(H), not sqrt(E) [code]. Keys of
    padding get no weight [ours].
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.width = num_heads, width
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.position = nn.Linear(width, width, bias=False)
        for linear in (self.query, self.key, self.value, self.output, self.position):
            nn.init.xavier_uniform_(linear.weight)
        self.content_bias_NE = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_heads, width // num_heads)))
        self.position_bias_NE = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_heads, width // num_heads)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """Attend (B, T, H); real frames come first, then padding."""
        query_BTNE = self._heads(self.query(x_BTH))
        key_BNTE = self._heads(self.key(x_BTH)).transpose(1, 2)
        value_BNTE = self._heads(self.value(x_BTH)).transpose(1, 2)
        positions_TH = sinusoidal_positions(x_BTH.shape[1], self.width, x_BTH.device)
        position_NET = self._heads(self.position(positions_TH)[None])[0].permute(1, 2, 0)
        content_BNIJ = (query_BTNE + self.content_bias_NE).transpose(1, 2) @ key_BNTE.transpose(2, 3)
        position_BNIT = (query_BTNE + self.position_bias_NE).transpose(1, 2) @ position_NET
        scores_BNIJ = (content_BNIJ + relative_shift(position_BNIT, mask_BT.sum(dim=1))) / math.sqrt(self.width)
        weights_BNIJ = self.dropout(masked_softmax(scores_BNIJ, mask_BT[:, None, None, :].expand_as(scores_BNIJ)))
        gathered_BTH = (weights_BNIJ.to(value_BNTE.dtype) @ value_BNTE).transpose(1, 2).flatten(2)
        attended_BTH: Tensor = self.output(gathered_BTH)
        return attended_BTH

    def _heads(self, x_BTH: Tensor) -> Tensor:
        """(B, T, N, E)."""
        return x_BTH.reshape(*x_BTH.shape[:2], self.num_heads, self.width // self.num_heads)


def relative_shift(scores_BNIT: Tensor, lengths_B: Tensor) -> Tensor:
    """Scores by position -> scores by key, (B, N, I, J), each clip as if it stood alone without padding.

    The official code shifts a matrix of L frames by one padded column [code], which comes to: for j <= i the score of query i with position
    L - 1 - i + j, for j = i + 1 zero, beyond that the score of query i + 1 with position j - i - 2.
    """
    num_frames = scores_BNIT.shape[3]
    steps_T = torch.arange(num_frames, device=scores_BNIT.device)
    distance_IJ = steps_T[None, :] - steps_T[:, None]
    backward_BIJ = (lengths_B[:, None, None] - 1 + distance_IJ).clamp(0, num_frames - 1)
    shape = (-1, scores_BNIT.shape[1], -1, -1)
    backward_BNIJ = scores_BNIT.gather(3, backward_BIJ[:, None].expand(shape))
    forward_BIJ = (distance_IJ - 2).clamp(0, num_frames - 1).expand_as(backward_BIJ)
    forward_BNIJ = scores_BNIT.roll(-1, dims=2).gather(3, forward_BIJ[:, None].expand(shape))
    return torch.where(distance_IJ <= 0, backward_BNIJ, torch.where(distance_IJ == 1, 0.0, forward_BNIJ))
