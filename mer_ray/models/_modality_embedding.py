"""All pooled streams of one modality as one vector, for models that fuse modalities, not streams.

Shapes: B clips, E numbers of an embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mer_ray.core.batch import Batch, StreamSpec
from mer_ray.models._modality_streams import has_any, pooled_or_zero


class ModalityEmbedding(nn.Module):
    """Three ReLU layers, as TFN and LMF have for audio and vision [code, Justin1904's]; h_m is zero for a clip without the modality [ours].

    Ours: the first layer is each stream's own, zero where absent, and the second reads their concatenation; text is read so too, its
    frames averaged, where the published models run an LSTM; no BatchNorm, so that no clip depends on its batch.
    """

    def __init__(self, streams: Sequence[StreamSpec], size: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.projections = nn.ModuleList(nn.Sequential(nn.Dropout(input_dropout), nn.Linear(spec.dim, size), nn.ReLU()) for spec in streams)
        self.layers = nn.Sequential(nn.Linear(size * len(streams), size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, batch: Batch) -> Tensor:
        """h_m (B, E)."""
        projected = [
            torch.where(batch.present[spec.name][:, None], projection(pooled_or_zero(batch, spec)), 0.0)
            for spec, projection in zip(self.streams, self.projections, strict=True)
        ]
        return torch.where(has_any(batch, self.streams)[:, None], self.layers(torch.cat(projected, dim=1)), 0.0)


def with_one(h_BE: Tensor) -> Tensor:
    """[h; 1] (B, E + 1): products with the 1 keep what modalities say alone and in pairs, also where one of them is absent."""
    return torch.cat([h_BE, torch.ones_like(h_BE[:, :1])], dim=1)
