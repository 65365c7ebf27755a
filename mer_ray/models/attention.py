"""The attention baseline of MERBench: one weight per stream and clip.

Shapes: B clips, S streams, D feature dimension, H hidden, C classes.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._base import FusionModel, FusionModelConfig
from mer_ray.models._masked_softmax import masked_softmax
from mer_ray.models._streams import absent_streams, as_pooled


class AttentionConfig(FusionModelConfig):
    """MERBench searches `hidden` in 64, 128, 256 and `dropout` in 0.2 to 0.5; `input_dropout` is our addition for wide features."""

    reads_frames: ClassVar[bool] = True

    name: Literal["attention"] = "attention"
    hidden: int = Field(128, ge=1, le=65_536)
    dropout: float = Field(0.3, ge=0, lt=1)
    input_dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, streams: Sequence[StreamSpec], task: TaskSpec) -> "AttentionFusion":
        """Make the model, with random weights."""
        return AttentionFusion(self, streams, task)


class AttentionFusion(FusionModel):
    """h_m = ReLU(FC(x_m)); a = softmax(W [h_1; ...; h_S]); z = sum_m a_m h_m; linear heads on z (MERBench; README.md).

    Ours: dropout on h_m; the softmax runs over present streams only, and a clip without any has z = 0.
    """

    def __init__(self, config: AttentionConfig, streams: Sequence[StreamSpec], task: TaskSpec) -> None:
        super().__init__(streams, task)
        self.projections = nn.ModuleList(nn.Linear(spec.dim, config.hidden) for spec in streams)
        self.attention = nn.Linear(config.hidden * len(streams), len(streams))
        self.emotion_head = nn.Linear(config.hidden, len(task.classes))
        self.value_heads = nn.Linear(config.hidden, len(task.values)) if task.values else None
        self.input_dropout = nn.Dropout(config.input_dropout) if config.input_dropout else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Predictions:
        """Predict from pooled streams; frames are averaged over time."""
        absent_BS = absent_streams(batch, self.streams)
        projected = [
            projection(self.input_dropout(as_pooled(batch, spec))) for spec, projection in zip(self.streams, self.projections, strict=True)
        ]
        hidden_BSH = self.dropout(torch.stack(projected, dim=1).masked_fill(absent_BS[:, :, None], 0.0).relu())
        attention_BS = masked_softmax(self.attention(hidden_BSH.flatten(1)), ~absent_BS)
        z_BH = (attention_BS.to(hidden_BSH.dtype)[:, :, None] * hidden_BSH).sum(dim=1)
        # A confident softmax reaches 0 for what is there: only NaN says that a stream was absent.
        shown_BS = attention_BS.detach().masked_fill(absent_BS, torch.nan)
        return Predictions(self.emotion_head(z_BH).float(), self._values(z_BH), shown_BS, tuple(spec.name for spec in self.streams))

    def _values(self, z_BH: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.value_heads is None:
            return {}
        return dict(zip(self.task.values, self.value_heads(z_BH).float().unbind(dim=1), strict=True))
