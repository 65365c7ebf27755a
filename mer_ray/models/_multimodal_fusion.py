"""Streams weighted by how well they agree with a guide.

Shapes: B clips, S streams, H width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_ray.models._masked_softmax import masked_softmax

# A channel gate looks at the channels through a quarter of their number, as squeeze-and-excitation does.
SQUEEZE = 4


class AdaptiveFusion(nn.Module):
    """AMF, the adaptive multimodal fusion of arXiv 2409.05007, which weighs streams by similarity to suppress interference.

    The paper gives no formulas; ours: s_m = cos(h_guide, h_m), which is 1 for the guide itself; w = softmax(s / temperature) over
    the streams that are present; each stream passes a channel gate c_m = sigmoid(MLP_m(h_m)) (intra-channel);
    z = h_guide + sum_m w_m c_m h_m (inter-channel).
    """

    def __init__(self, width: int, num_streams: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        squeezed = max(1, width // SQUEEZE)
        self.channel_gates = nn.ModuleList(
            nn.Sequential(nn.Linear(width, squeezed), nn.GELU(), nn.Linear(squeezed, width), nn.Sigmoid()) for _ in range(num_streams)
        )

    def forward(self, guide_BH: Tensor, streams_BSH: Tensor, present_BS: Tensor) -> tuple[Tensor, Tensor]:
        """The fused z (B, H) and w (B, S), zero for absent streams; `streams_BSH` holds the guide's own vector among the streams'."""
        similarity_BS = functional.cosine_similarity(guide_BH[:, None].float(), streams_BSH.float(), dim=2)
        weights_BS = masked_softmax(similarity_BS / self.temperature, present_BS)
        gates_BSH = torch.stack([gate(h_BH) for gate, h_BH in zip(self.channel_gates, streams_BSH.unbind(dim=1), strict=True)], dim=1)
        z_BH = guide_BH + (weights_BS.to(streams_BSH.dtype)[:, :, None] * gates_BSH * streams_BSH).sum(dim=1)
        return z_BH, weights_BS


class GuideGate(nn.Module):
    """g = sigmoid(MLP([h_guide; h_plain])) [ours]: how far the guide is trusted, from what it says beside what the others say."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1), nn.Sigmoid())

    def forward(self, guide_BH: Tensor, plain_BH: Tensor, is_guide_present_B: Tensor, is_other_present_B: Tensor) -> Tensor:
        """The gate (B,), exactly 0 where the guide is absent, and 1 where it is all there is."""
        gate_B = self.layers(torch.cat([guide_BH, plain_BH], dim=1))[:, 0].float()
        return torch.where(is_guide_present_B & is_other_present_B, gate_B, is_guide_present_B.float())
