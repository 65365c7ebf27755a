"""Early fusion: one DNN on the concatenation of all streams, the counterpart of `late_fusion`.

Shapes: B clips, D feature dimension of all streams together, H hidden.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._base import FusionModel, FusionModelConfig
from mer_ray.models._pooled_network import PooledNetwork


class EarlyFusionConfig(FusionModelConfig):
    """`num_layers` of `hidden` units in the DNN."""

    reads_frames: ClassVar[bool] = True

    name: Literal["early_fusion"] = "early_fusion"
    hidden: int = Field(128, ge=1, le=65_536)
    num_layers: int = Field(2, ge=1, le=16)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "EarlyFusion":
        """Make the model, with random weights."""
        return EarlyFusion(self, streams, task)


class EarlyFusion(FusionModel):
    """The DNN of late fusion, over all modalities at once (early fusion is common; all sizes are ours)."""

    def __init__(self, config: EarlyFusionConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.network = PooledNetwork(
            streams,
            task,
            hidden=config.hidden,
            num_layers=config.num_layers,
            dropout=config.dropout,
            input_dropout=config.input_dropout,
        )

    def forward(self, batch: Batch) -> Predictions:
        """Decide from what a clip has; what it lacks is zeros."""
        predictions: Predictions = self.network(batch)
        return predictions
