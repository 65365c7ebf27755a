"""A pooled stream whose columns stay where they lie, and batches of it.

Shapes: N clips, D feature dimension, B clips, K groups of clips.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mer_ray.batching.normalise import Normalisation


@dataclass(frozen=True)
class PooledBank:
    """Columns as they are stored, each (N, D of its own), and what normalises them side by side: (K, D), a clip's row in it `group_N`."""

    columns: tuple[Tensor, ...]
    present_N: Tensor
    normalisation: Normalisation
    group_N: Tensor

    def take(self, rows_B: Tensor) -> Tensor:
        """Normalised rows (B, D) of clips, zero where a clip lacks the stream."""
        x_BD = torch.cat([column_ND.index_select(0, rows_B).float() for column_ND in self.columns], dim=1)
        group_B = self.group_N.index_select(0, rows_B)
        mean_BD = self.normalisation.mean_D.index_select(0, group_B)
        scale_BD = self.normalisation.scale_D.index_select(0, group_B)
        return torch.where(self.present_N.index_select(0, rows_B)[:, None], (x_BD - mean_BD) / scale_BD, 0.0)
