"""Normalisation of features: statistics of the training clips, or of each speaker's own clips.

Shapes: N clips, D feature dimension.
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


@dataclass(frozen=True)
class Normalisation:
    """Per dimension what is taken off and what is divided by: `mean_D`, `scale_D` float32; `scale_D` is 1 for constants."""

    mean_D: Tensor
    scale_D: Tensor

    def apply(self, x_ND: Tensor, present_N: Tensor) -> Tensor:
        """Normalise (N, D); absent rows are zero."""
        return torch.where(present_N[:, None], (x_ND - self.mean_D) / self.scale_D, 0.0)


def fit_normalisation(x_ND: Tensor, present_N: Tensor) -> Normalisation:
    """Mean and population deviation of each dimension over the present rows; no present row gives the identity."""
    kept_ND = x_ND[present_N].double()
    if len(kept_ND) == 0:
        return Normalisation(torch.zeros_like(x_ND[0]), torch.ones_like(x_ND[0]))
    std_D, mean_D = torch.std_mean(kept_ND, dim=0, correction=0)
    constant_D = std_D <= CONSTANT_BELOW * mean_D.abs()
    return Normalisation(mean_D.float(), torch.where(constant_D, 1.0, std_D).float())


def normalise_speakers(x_ND: Tensor, present_N: Tensor, speaker_ids: Sequence[str | None]) -> Tensor:
    """Normalise each speaker by the statistics of all their own clips, labelled or not: transductive for a test speaker.

    Raises:
        RunError: a clip without a speaker.

    """
    unknown = sum(speaker is None for speaker in speaker_ids)
    if unknown:
        raise RunError(
            f"normalise: speaker needs a speaker_id for every clip; {unknown} of {len(speaker_ids)} have none: use normalise: train"
        )
    result_ND = torch.empty_like(x_ND)
    speakers_N = np.asarray(speaker_ids, dtype=object)
    for speaker in sorted(set(speakers_N)):
        rows_N = torch.from_numpy(np.flatnonzero(speakers_N == speaker)).to(x_ND.device)
        own_ND, own_present_N = x_ND[rows_N], present_N[rows_N]
        result_ND[rows_N] = fit_normalisation(own_ND, own_present_N).apply(own_ND, own_present_N)
    return result_ND
