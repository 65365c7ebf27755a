"""Low-rank Multimodal Fusion (Liu et al. 2018, arXiv 1806.00064): a tensor fusion whose weights are a sum of few products.

Shapes: B clips, E numbers of a modality's embedding, R rank, H hidden.
"""

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._base import FusionModel, FusionModelConfig
from mer_ray.models._linear_heads import LinearHeads
from mer_ray.models._modality_embedding import ModalityEmbedding, with_one
from mer_ray.models._modality_streams import streams_by_modality


class LowRankFusionConfig(FusionModelConfig):
    """`embedding`: the size of each h_m; `hidden`: of the fused vector."""

    reads_frames: ClassVar[bool] = True

    name: Literal["lmf"] = "lmf"
    embedding: int = Field(32, ge=1, le=4096)
    rank: int = Field(4, ge=1, le=4096)
    hidden: int = Field(128, ge=1, le=4096)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "LowRankFusion":
        """Make the model, with random weights."""
        return LowRankFusion(self, streams, task)


class LowRankFusion(FusionModel):
    """Linear heads on the fused vector of `LowRankLayer`; h_m: `ModalityEmbedding`.

    Ours: over the modalities that have streams, one to three; dropout on each h_m, before its 1; a clip without a modality has h_m = 0
    and keeps the 1. The paper leaves open what reads the fused vector; its code predicts with the fused numbers themselves.
    """

    def __init__(self, config: LowRankFusionConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.embeddings = nn.ModuleList(
            ModalityEmbedding(specs, config.embedding, config.dropout, config.input_dropout)
            for specs in streams_by_modality(streams).values()
        )
        self.fusion = LowRankLayer([config.embedding + 1] * len(self.embeddings), config.rank, config.hidden)
        self.heads = LinearHeads(config.hidden, task)

    def forward(self, batch: Batch) -> Predictions:
        """Predict from pooled streams; frames are averaged over time."""
        z_BH = self.fusion([with_one(embedding(batch)) for embedding in self.embeddings])
        predictions: Predictions = self.heads(z_BH)
        return predictions


class LowRankLayer(nn.Module):
    """z = sum_r w_r prod_m (F_m^r [h_m; 1]) + b, the product elementwise over modalities.

    Factors per modality and rank [paper]; w, b and the sum over the rank outside the product [code, Justin1904/Low-rank-Multimodal-Fusion].
    It is a linear layer on TFN's tensor whose weights are sum_r w_r F_1^r (x) F_2^r (x) ...: any such layer where the rank is high enough.
    """

    def __init__(self, sizes: Sequence[int], rank: int, hidden: int) -> None:
        super().__init__()
        # Our start, for a fused vector of about the scale of one product of embeddings.
        self.factors = nn.ParameterList(torch.randn(rank, size, hidden) * size**-0.5 for size in sizes)
        self.rank_weights_R = nn.Parameter(torch.randn(rank) * rank**-0.5)
        self.bias_H = nn.Parameter(torch.zeros(hidden))

    def forward(self, vectors: Sequence[Tensor]) -> Tensor:
        """One vector (B, E_m) per modality -> (B, H)."""
        projected = [torch.einsum("be,reh->brh", x_BE, factor_REH) for x_BE, factor_REH in zip(vectors, self.factors, strict=True)]
        product_BRH = reduce(torch.mul, projected)
        return (product_BRH * self.rank_weights_R[:, None]).sum(dim=1) + self.bias_H
