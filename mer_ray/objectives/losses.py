"""Losses as sums over clips, so that workers with unequal parts of a batch give the loss of the whole batch.

Shapes: B clips, C classes, T terms of the loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mer_ray.core.batch import Batch, Predictions
from mer_ray.core.errors import ConfigError

EMOTION = "emotion"
UNKNOWN = -1

ClassWeights = Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]


@dataclass(frozen=True)
class Objective:
    """Cross entropy on emotion and `value_weight` times the squared error of every value; unknown labels take no part.

    A loss is a sum over clips divided by their total mass: over parts of a batch, sums and masses add up. `class_weights_C` float32
    or None; `label_smoothing` as in `torch.nn.functional.cross_entropy`.
    """

    values: tuple[str, ...] = ()
    class_weights_C: Tensor | None = None
    label_smoothing: float = 0.0
    value_weight: float = 1.0

    @property
    def terms(self) -> tuple[str, ...]:
        """The T terms of the loss, in the order of sums and masses."""
        return (EMOTION, *self.values)

    @property
    def weights(self) -> tuple[float, ...]:
        """The factors of the terms in the total."""
        return (1.0, *[self.value_weight] * len(self.values))

    def sums(self, predictions: Predictions, batch: Batch) -> Tensor:
        """The loss sums (T,) of the clips of a batch."""
        if batch.emotion_probs is None:
            emotion = emotion_loss_sum(predictions.logits, batch.emotion, self.class_weights_C, self.label_smoothing)
        else:
            emotion = soft_emotion_loss_sum(predictions.logits, batch.emotion_probs, self.class_weights_C, self.label_smoothing)
        return torch.stack([emotion, *[value_loss_sum(predictions.values[name], batch.values[name]) for name in self.values]])

    def masses(self, batch: Batch) -> Tensor:
        """The mass (B, T) of each clip, from labels alone: its class's weight, or 1 for a known value; 0 = unknown."""
        if batch.emotion_probs is None:
            emotion_B = emotion_mass(batch.emotion, self.class_weights_C)
        else:
            emotion_B = soft_emotion_mass(batch.emotion_probs, self.class_weights_C)
        return torch.stack([emotion_B, *[(~torch.isnan(batch.values[name])).float() for name in self.values]], dim=1)


def emotion_loss_sum(logits_BC: Tensor, emotion_B: Tensor, class_weights_C: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Weighted cross entropy over known labels (-1 = unknown); divided by the sum of `emotion_mass`, torch's weighted mean."""
    return functional.cross_entropy(
        logits_BC, emotion_B, weight=class_weights_C, ignore_index=UNKNOWN, reduction="sum", label_smoothing=label_smoothing
    )


def emotion_mass(emotion_B: Tensor, class_weights_C: Tensor | None = None) -> Tensor:
    """The class weight of each known label (B,), else 0."""
    known_B = (emotion_B != UNKNOWN).float()
    return known_B if class_weights_C is None else class_weights_C[emotion_B.clamp_min(0)] * known_B


def soft_emotion_loss_sum(
    logits_BC: Tensor, probs_BC: Tensor, class_weights_C: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """As `emotion_loss_sum`, against soft labels; a row of zeros is unknown. One-hot rows give the same loss."""
    loss_B = functional.cross_entropy(logits_BC, probs_BC, weight=class_weights_C, reduction="none", label_smoothing=label_smoothing)
    return (loss_B * (probs_BC.sum(dim=1) > 0)).sum()


def soft_emotion_mass(probs_BC: Tensor, class_weights_C: Tensor | None = None) -> Tensor:
    """The mean class weight under each soft label (B,), 0 for a row of zeros."""
    return (probs_BC if class_weights_C is None else probs_BC * class_weights_C).sum(dim=1)


def value_loss_sum(predicted_B: Tensor, label_B: Tensor) -> Tensor:
    """Squared error over known labels (NaN = unknown)."""
    error_B = torch.where(torch.isnan(label_B), 0.0, predicted_B - label_B)
    return error_B.square().sum()


def class_weights(choice: ClassWeights, counts_C: np.ndarray, classes: tuple[str, ...]) -> Tensor | None:
    """The weight of each class: `balanced` = n / (number of classes seen * n_c) as scikit-learn's, 0 for a class never seen.

    Raises:
        ConfigError: explicit weights that do not name exactly the corpus's classes, or are not positive.

    """
    if choice == "none":
        return None
    if choice == "balanced":
        seen_C = counts_C > 0
        weights_C = np.where(seen_C, counts_C.sum() / (seen_C.sum() * np.maximum(counts_C, 1)), 0.0)
        return torch.tensor(weights_C, dtype=torch.float32)
    return _explicit_weights(choice, classes)


def _explicit_weights(choice: Mapping[str, float], classes: tuple[str, ...]) -> Tensor:
    if set(choice) != set(classes):
        raise ConfigError(f"class_weights: name every class once: {', '.join(classes)}; given: {', '.join(choice)}")
    if min(choice.values()) <= 0:
        raise ConfigError("class_weights: weights are positive numbers; leave a class out of the corpus rather than weigh it 0")
    return torch.tensor([choice[name] for name in classes], dtype=torch.float32)
