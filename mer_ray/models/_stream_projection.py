"""A stream, pooled or frames, as one vector of the size that all streams share.

Shapes: B clips, T frames, D feature dimension, H hidden.
"""

from torch import Tensor, nn

from mer_ray.core.batch import Batch, StreamSpec
from mer_ray.models._feature_gathering import FeatureGathering
from mer_ray.models._modality_streams import pooled_or_zero


class StreamProjection(nn.Module):
    """h = Dropout(ReLU(LayerNorm(Linear(x)))) [ours]; frames first become one x by AFG over time: a = softmax of w^T tanh(W x_t + b)."""

    def __init__(self, spec: StreamSpec, hidden: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.spec = spec
        self.time_pooling = FeatureGathering(spec.dim, hidden) if spec.is_sequence else None
        self.layers = nn.Sequential(
            nn.Dropout(input_dropout), nn.Linear(spec.dim, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, batch: Batch) -> Tensor:
        """The stream (B, H); what a clip without it gets is for the caller to leave out."""
        if self.time_pooling is None:
            x_BD = pooled_or_zero(batch, self.spec)
        else:
            x_BD, _ = self.time_pooling(batch.streams[self.spec.name], batch.frame_masks[self.spec.name])
        h_BH: Tensor = self.layers(x_BD)
        return h_BH
