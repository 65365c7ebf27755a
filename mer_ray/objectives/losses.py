"""Losses as sums, so that ranks with unequal parts of a batch give the loss of the whole batch.

Shapes: B clips, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mer_ray.core.batch import Batch, Predictions
from mer_ray.core.errors import ConfigError

EMOTION = "emotion"
UNKNOWN = -1

ClassWeights = Literal["none", "balanced"] | dict[str, float]


@dataclass(frozen=True)
class LossSum:
    """A mean as two scalars: over ranks, the loss is the sum of numerators over the sum of denominators."""

    numerator: Tensor
    denominator: Tensor


@dataclass(frozen=True)
class Objective:
    """Cross entropy on emotion and `value_weight` times the squared error of every value; unknown labels take no part.

    `class_weights_C` float32 or None; `label_smoothing` as in `torch.nn.functional.cross_entropy`.
    """

    class_weights_C: Tensor | None = None
    label_smoothing: float = 0.0
    value_weight: float = 1.0

    def sums(self, predictions: Predictions, batch: Batch) -> dict[str, LossSum]:
        """The loss sums of `emotion` and of every value that the model predicts."""
        if batch.emotion_probs is None:
            emotion = emotion_loss(predictions.logits, batch.emotion, self.class_weights_C, self.label_smoothing)
        else:
            emotion = soft_emotion_loss(predictions.logits, batch.emotion_probs, self.class_weights_C, self.label_smoothing)
        return {EMOTION: emotion, **{name: value_loss(v_B, batch.values[name]) for name, v_B in predictions.values.items()}}

    def weight(self, name: str) -> float:
        """The factor of a term in the total."""
        return 1.0 if name == EMOTION else self.value_weight


def emotion_loss(logits_BC: Tensor, emotion_B: Tensor, class_weights_C: Tensor | None = None, label_smoothing: float = 0.0) -> LossSum:
    """Weighted cross entropy over known labels (-1 = unknown); numerator / denominator is torch's weighted mean."""
    numerator = functional.cross_entropy(
        logits_BC, emotion_B, weight=class_weights_C, ignore_index=UNKNOWN, reduction="sum", label_smoothing=label_smoothing
    )
    known_B = emotion_B != UNKNOWN
    if class_weights_C is None:
        return LossSum(numerator, known_B.sum().to(numerator.dtype))
    return LossSum(numerator, (class_weights_C[emotion_B.clamp_min(0)] * known_B).sum())


def soft_emotion_loss(logits_BC: Tensor, probs_BC: Tensor, class_weights_C: Tensor | None = None, label_smoothing: float = 0.0) -> LossSum:
    """As `emotion_loss`, against soft labels; a row of zeros is unknown. One-hot rows give the same loss."""
    known_B = probs_BC.sum(dim=1) > 0
    loss_B = functional.cross_entropy(logits_BC, probs_BC, weight=class_weights_C, reduction="none", label_smoothing=label_smoothing)
    mass_BC = probs_BC if class_weights_C is None else probs_BC * class_weights_C
    return LossSum((loss_B * known_B).sum(), mass_BC.sum())


def value_loss(predicted_B: Tensor, label_B: Tensor) -> LossSum:
    """Squared error over known labels (NaN = unknown)."""
    known_B = ~torch.isnan(label_B)
    error_B = predicted_B - torch.where(known_B, label_B, predicted_B.detach())
    return LossSum(error_B.square().sum(), known_B.sum().to(error_B.dtype))


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
