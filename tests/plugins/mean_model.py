"""A plug-in that keeps its contract: the mean of projected streams, and linear heads on it."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models import FusionModel, FusionModelConfig


class MeanConfig(FusionModelConfig):
    hidden: int = Field(24, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "MeanFusion":
        return MeanFusion(self, streams, task)


class MeanFusion(FusionModel):
    def __init__(self, config: MeanConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.projections = nn.ModuleList(nn.Linear(spec.dim, config.hidden) for spec in streams)
        self.dropout = nn.Dropout(config.dropout)
        self.emotion_head = nn.Linear(config.hidden, len(task.classes))
        self.value_heads = nn.ModuleDict({name: nn.Linear(config.hidden, 1) for name in task.values})

    def forward(self, batch: Batch) -> Predictions:
        projected = [
            layer(batch.streams[spec.name]).relu().masked_fill(~batch.present[spec.name][:, None], 0.0)
            for spec, layer in zip(self.streams, self.projections, strict=True)
        ]
        z_BH = self.dropout(torch.stack(projected).mean(dim=0))
        return Predictions(self.emotion_head(z_BH).float(), {name: head(z_BH)[:, 0].float() for name, head in self.value_heads.items()})
