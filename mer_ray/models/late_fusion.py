"""Late fusion: one small DNN per modality decides by itself, the decisions are averaged.

Shapes: B clips, M modalities.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._base import FusionModel, FusionModelConfig, TrainStep
from mer_ray.models._decision_fusion import fuse_decisions
from mer_ray.models._modality_streams import has_any, streams_by_modality
from mer_ray.models._pooled_network import PooledNetwork


class LateFusionConfig(FusionModelConfig):
    """`num_layers` of `hidden` units in each modality's DNN."""

    reads_frames: ClassVar[bool] = True

    name: Literal["late_fusion"] = "late_fusion"
    hidden: int = Field(128, ge=1, le=65_536)
    num_layers: int = Field(2, ge=1, le=16)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "LateFusion":
        """Make the model, with random weights."""
        return LateFusion(self, streams, task)


class LateFusion(FusionModel):
    """Mean of the posteriors and of the values of the DNNs of the modalities that a clip has (late fusion is common; all sizes are ours).

    Ours: each DNN learns in a step of its own, on the clips that have its modality, with the whole loss on its own decision: trained on
    the fused decision they would learn from each other's errors. A clip without any modality counts what all say to zeros.
    """

    def __init__(self, config: LateFusionConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        by_modality = streams_by_modality(streams)
        self.networks = nn.ModuleDict(
            {
                modality: PooledNetwork(
                    specs,
                    task,
                    hidden=config.hidden,
                    num_layers=config.num_layers,
                    dropout=config.dropout,
                    input_dropout=config.input_dropout,
                )
                for modality, specs in by_modality.items()
            }
        )
        self.steps = tuple(TrainStep(modality, (modality,), needs=(modality,)) for modality in by_modality)

    def forward(self, batch: Batch) -> Predictions:
        """Decide by modality, then average over the modalities that are present."""
        decisions: list[Predictions] = [network(batch) for network in self.networks.values()]
        present_BM = torch.stack([has_any(batch, specs) for specs in streams_by_modality(self.streams).values()], dim=1)
        return fuse_decisions(decisions, present_BM | ~present_BM.any(dim=1, keepdim=True))

    def forward_step(self, batch: Batch, step: str) -> Predictions:
        """The decisions of the modality that the step trains."""
        predictions: Predictions = self.networks[step](batch)
        return predictions

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The parameters by modality."""
        return {modality: network.parameters() for modality, network in self.networks.items()}
