"""One small DNN over pooled streams.

Shapes: B clips, D feature dimension of all streams together.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from mer_ray.core.batch import Batch, Predictions, StreamSpec, TaskSpec
from mer_ray.models._linear_heads import LinearHeads
from mer_ray.models._modality_streams import pooled_or_zero


class PooledNetwork(nn.Module):
    """`num_layers` of Linear -> ReLU -> Dropout on the concatenation of pooled streams, then linear heads [ours]."""

    def __init__(
        self, streams: Sequence[StreamSpec], task: TaskSpec, *, hidden: int, num_layers: int, dropout: float, input_dropout: float
    ) -> None:
        super().__init__()
        self.streams = tuple(streams)
        sizes = [sum(spec.dim for spec in streams), *[hidden] * num_layers]
        layers: list[nn.Module] = [nn.Dropout(input_dropout)]
        for size_in, size_out in pairwise(sizes):
            layers += [nn.Linear(size_in, size_out), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.heads = LinearHeads(hidden, task)

    def forward(self, batch: Batch) -> Predictions:
        """The decisions of these streams alone; absent ones are zeros."""
        x_BD = torch.cat([pooled_or_zero(batch, spec) for spec in self.streams], dim=1)
        predictions: Predictions = self.heads(self.layers(x_BD))
        return predictions
