"""Losses as sums over clips, so that workers with unequal parts of a batch give the loss of the whole batch.

Shapes: B clips, C classes, D feature dimension.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mer_ray.core.errors import ConfigError

UNKNOWN = -1

ClassWeights = Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]


def emotion_loss_sum(
    logits_BC: Tensor,
    emotion_B: Tensor,
    class_weights_C: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    weight_B: Tensor | None = None,
) -> Tensor:
    """Weighted cross entropy over known labels (-1 = unknown); divided by the sum of `emotion_mass`, torch's weighted mean.

    A clip of `weight_B` 2 counts as two clips, in the loss and in the mass.

    `focal_gamma` > 0 multiplies each class's share by (1 - p)^gamma (focal loss, Lin et al., 2017, arXiv 1708.02002, equation 4).
    """
    if focal_gamma:
        known_B = emotion_B != UNKNOWN
        one_hot_BC = functional.one_hot(emotion_B.clamp_min(0), logits_BC.shape[1]).to(logits_BC.dtype) * known_B[:, None]
        return _weighed_sum(_focal_loss(logits_BC, one_hot_BC, class_weights_C, label_smoothing, focal_gamma), weight_B)
    loss = functional.cross_entropy(
        logits_BC,
        emotion_B,
        weight=class_weights_C,
        ignore_index=UNKNOWN,
        reduction="sum" if weight_B is None else "none",
        label_smoothing=label_smoothing,
    )
    return loss if weight_B is None else _weighed_sum(loss, weight_B)


def emotion_mass(emotion_B: Tensor, class_weights_C: Tensor | None = None) -> Tensor:
    """The class weight of each known label (B,), else 0."""
    known_B = (emotion_B != UNKNOWN).float()
    return known_B if class_weights_C is None else class_weights_C[emotion_B.clamp_min(0)] * known_B


def soft_emotion_loss_sum(
    logits_BC: Tensor,
    probs_BC: Tensor,
    class_weights_C: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    weight_B: Tensor | None = None,
) -> Tensor:
    """As `emotion_loss_sum`, against soft labels; a row of zeros is unknown. One-hot rows give the same loss."""
    if focal_gamma:
        return _weighed_sum(_focal_loss(logits_BC, probs_BC, class_weights_C, label_smoothing, focal_gamma), weight_B)
    loss_B = functional.cross_entropy(logits_BC, probs_BC, weight=class_weights_C, reduction="none", label_smoothing=label_smoothing)
    return _weighed_sum(loss_B * (probs_BC.sum(dim=1) > 0), weight_B)


def _weighed_sum(loss: Tensor, weight_B: Tensor | None) -> Tensor:
    """The sum of losses (B,) or (B, C) over clips, each times its weight."""
    if weight_B is None:
        return loss.sum()
    return (loss * (weight_B if loss.dim() == 1 else weight_B[:, None])).sum()


def _focal_loss(logits_BC: Tensor, probs_BC: Tensor, class_weights_C: Tensor | None, label_smoothing: float, gamma: float) -> Tensor:
    """Against soft labels the sum over classes of their focal losses by their shares (our choice, as is smoothing before it)."""
    known_B1 = probs_BC.sum(dim=1, keepdim=True) > 0
    wanted_BC = (probs_BC * (1 - label_smoothing) + label_smoothing / logits_BC.shape[1]) * known_B1
    log_probs_BC = functional.log_softmax(logits_BC, dim=1)
    loss_BC = -wanted_BC * (1 - log_probs_BC.exp()).clamp_min(0).pow(gamma) * log_probs_BC
    return loss_BC if class_weights_C is None else loss_BC * class_weights_C


def soft_emotion_mass(probs_BC: Tensor, class_weights_C: Tensor | None = None) -> Tensor:
    """The mean class weight under each soft label (B,), 0 for a row of zeros."""
    return (probs_BC if class_weights_C is None else probs_BC * class_weights_C).sum(dim=1)


def value_loss_sum(predicted_B: Tensor, label_B: Tensor, weight_B: Tensor | None = None) -> Tensor:
    """Squared error over known labels (NaN = unknown)."""
    error_B = torch.where(torch.isnan(label_B), 0.0, predicted_B - label_B)
    return _weighed_sum(error_B.square(), weight_B)


def reconstruction_loss_sum(predicted_BD: Tensor, target_BD: Tensor, known_B: Tensor, weight_B: Tensor | None = None) -> Tensor:
    """Squared error, mean over dimensions, of the clips that have something to rebuild; `known_B` bool."""
    error_BD = torch.where(known_B[:, None], predicted_BD - target_BD, 0.0)
    return _weighed_sum(error_BD.square().mean(dim=1), weight_B)


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
