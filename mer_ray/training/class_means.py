"""What the values of the training clips are, class by class.

Shapes: C classes.
"""

import numpy as np
import torch
from torch import Tensor

from mer_ray.training.training_data import IntArray, TrainingData


def class_means(data: TrainingData, rows: IntArray) -> dict[str, Tensor]:
    """The mean of each value over the clips of each class, float32 (C,), NaN for a class without any; soft labels count by shares."""
    return {name: _means(data.class_shares[rows], value_N[rows]) for name, value_N in data.values.items()}


def _means(shares_NC: np.ndarray, value_N: np.ndarray) -> Tensor:
    known_N = ~np.isnan(value_N)
    counts_C = shares_NC[known_N].sum(axis=0)
    sums_C = (shares_NC[known_N] * value_N[known_N, None]).sum(axis=0)
    means_C = np.where(counts_C > 0, sums_C / np.where(counts_C > 0, counts_C, 1), np.nan)
    return torch.tensor(means_C, dtype=torch.float32)
