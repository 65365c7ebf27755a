"""Tensor Fusion Network (Zadeh et al. 2017, arXiv 1707.07250): every product of one number of each modality.

Shapes: B clips, E numbers of a modality's embedding, F numbers of the fused tensor, H hidden.
"""

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._base import FusionModel, FusionModelConfig
from mer_ray.models._linear_heads import LinearHeads
from mer_ray.models._modality_embedding import ModalityEmbedding, with_one
from mer_ray.models._modality_streams import streams_by_modality


class TensorFusionConfig(FusionModelConfig):
    """`embedding`: the size of each h_m, to the third power in the first of the layers of `hidden` units that read the tensor."""

    reads_frames: ClassVar[bool] = True

    name: Literal["tfn"] = "tfn"
    embedding: int = Field(32, ge=1, le=128)
    hidden: int = Field(128, ge=1, le=4096)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "TensorFusion":
        """Make the model, with random weights."""
        return TensorFusion(self, streams, task)


class TensorFusion(FusionModel):
    """Z = [h_a; 1] (x) [h_v; 1] (x) [h_t; 1] [paper], two ReLU layers on Z, linear heads; h_m: `ModalityEmbedding`.

    Ours: over the modalities that have streams, one to three; dropout on each h_m, before its 1, and on both layers; a clip without a
    modality has h_m = 0 and keeps the 1, so the products of the others remain.
    """

    def __init__(self, config: TensorFusionConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.embeddings = nn.ModuleList(
            ModalityEmbedding(specs, config.embedding, config.dropout, config.input_dropout)
            for specs in streams_by_modality(streams).values()
        )
        self.fusion_layer = nn.Linear((config.embedding + 1) ** len(self.embeddings), config.hidden)
        self.decision = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            LinearHeads(config.hidden, task),
        )

    def forward(self, batch: Batch) -> Predictions:
        """Predict from pooled streams; frames are averaged over time."""
        fused_BF = outer_product([with_one(embedding(batch)) for embedding in self.embeddings])
        predictions: Predictions = self.decision(self.fusion_layer(fused_BF))
        return predictions


def outer_product(vectors: Sequence[Tensor]) -> Tensor:
    """The products of one number of each vector (B, E_m), flat (B, F): F = E_1 * E_2 * ..., the last vector's index runs fastest."""
    return reduce(lambda fused_BF, x_BE: (fused_BF[:, :, None] * x_BE[:, None, :]).flatten(1), vectors)
