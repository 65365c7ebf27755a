"""Normalisation of features: statistics of the training clips, or of each speaker's own clips.

Shapes: N clips, R rows (clips of pooled streams, real frames of others), D feature dimension, K groups of clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mer_ray.core.errors import RunError

Normalise = Literal["train", "speaker"]

NORMALISE_LABELS: dict[Normalise, str] = {"train": "train", "speaker": "speaker (transductive)"}

# A deviation below this share of the mean is rounding of a constant (our choice: stored values are float16).
CONSTANT_BELOW = 1e-5
# Bounds the memory of frames in double precision.
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Normalisation:
    """Per dimension what is taken off and what is divided by: `mean_D`, `scale_D` float32; `scale_D` is 1 for constants."""

    mean_D: Tensor
    scale_D: Tensor

    def apply(self, x_ND: Tensor, present_N: Tensor) -> Tensor:
        """Normalise (N, D); absent rows are zero."""
        return torch.where(present_N[:, None], (x_ND - self.mean_D) / self.scale_D, 0.0)


def fit_normalisation(x_RD: Tensor, kept_R: Tensor) -> Normalisation:
    """Mean and population deviation of each dimension over the kept rows; no kept row gives the identity."""
    if not kept_R.any():
        return Normalisation(torch.zeros(x_RD.shape[1], device=x_RD.device), torch.ones(x_RD.shape[1], device=x_RD.device))
    parts = list(zip(torch.split(x_RD, ROWS_AT_ONCE), torch.split(kept_R, ROWS_AT_ONCE), strict=True))
    num_rows = kept_R.sum()
    mean_D = torch.stack([part_RD[part_R].double().sum(dim=0) for part_RD, part_R in parts]).sum(dim=0) / num_rows
    squares = [(part_RD[part_R].double() - mean_D).square().sum(dim=0) for part_RD, part_R in parts]
    std_D = (torch.stack(squares).sum(dim=0) / num_rows).sqrt()
    constant_D = std_D <= CONSTANT_BELOW * mean_D.abs()
    return Normalisation(mean_D.float(), torch.where(constant_D, 1.0, std_D).float())


def speaker_groups(speaker_ids: Sequence[str | None]) -> Tensor:
    """The number of each clip's speaker, int64 (N,), in the order of their names.

    Raises:
        RunError: a clip without a speaker.

    """
    unknown = sum(speaker is None for speaker in speaker_ids)
    if unknown:
        raise RunError(
            f"normalise: speaker needs a speaker_id for every clip; {unknown} of {len(speaker_ids)} have none: use normalise: train"
        )
    names = [str(speaker) for speaker in speaker_ids]
    return torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64)) if names else torch.zeros(0, dtype=torch.int64)


def fit_groups(x_RD: Tensor, kept_R: Tensor, group_R: Tensor, num_groups: int) -> Normalisation:
    """`fit_normalisation` of each group's own rows: `mean_D` and `scale_D` become (K, D)."""
    found = [fit_normalisation(x_RD, kept_R & (group_R == group)) for group in range(num_groups)]
    return Normalisation(torch.stack([one.mean_D for one in found]), torch.stack([one.scale_D for one in found]))
