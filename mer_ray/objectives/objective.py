"""The loss of one training step: its terms, their masses, and how they are weighed against each other.

Shapes: B clips, C classes, V values, T terms of the loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mer_ray.core.batch import Batch, Predictions
from mer_ray.objectives.concordance import Gather, concordance_sums, whole
from mer_ray.objectives.losses import (
    UNKNOWN,
    emotion_loss_sum,
    emotion_mass,
    reconstruction_loss_sum,
    soft_emotion_loss_sum,
    soft_emotion_mass,
    value_loss_sum,
)

EMOTION = "emotion"
RECONSTRUCTION = "reconstruction_"

ValueLoss = Literal["mse", "ccc"]
Weighting = Literal["fixed", "uncertainty"]


@dataclass(frozen=True)
class LossSettings:
    """How predictions are held to labels: `class_weights_C` float32 or None, `value_weight` the factor of every value's term."""

    class_weights_C: Tensor | None = None
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    value_loss: ValueLoss = "mse"
    value_weight: float = 1.0
    weighting: Weighting = "fixed"


class Objective(nn.Module):
    """Cross entropy on emotion, a loss on every value, and reconstruction errors; unknown labels take no part.

    A term is a sum over clips divided by their total mass: over parts of a batch, sums and masses add up. A clip's `weight` multiplies
    both; concordance, which is no sum over clips, does not know it.

    `weighting: uncertainty` learns s = log variance of each labelled term: exp(-s) L_emotion + 0.5 exp(-s) L_value + 0.5 s (after Kendall
    & Gal, 2018, arXiv 1705.07115; this form is our choice), where a term without a label in the batch takes no part. A value's term L
    has its fixed factor: exp(-s) starts there, not at 1. Reconstruction keeps its own.
    """

    def __init__(
        self, values: Sequence[str], settings: LossSettings, reconstructs: Sequence[str] = (), reconstruction_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.values, self.settings, self.reconstructs = tuple(values), settings, tuple(reconstructs)
        self.terms = (EMOTION, *self.values, *(f"{RECONSTRUCTION}{name}" for name in reconstructs))
        self.fixed_weights = (1.0, *[settings.value_weight] * len(self.values), *[reconstruction_weight] * len(self.reconstructs))
        self._num_labelled = 1 + len(self.values)
        learns = settings.weighting == "uncertainty"
        self.log_variances = nn.Parameter(torch.zeros(self._num_labelled)) if learns else None
        halves = [1.0, *[0.5] * len(self.values), *[1.0] * len(self.reconstructs)] if learns else [1.0] * len(self.terms)
        # Buffers lie on the device of the losses, so that a step moves nothing there.
        self._weights_T: Tensor
        self.register_buffer("_weights_T", torch.tensor(self.fixed_weights) * torch.tensor(halves), persistent=False)
        self._class_weights_C: Tensor | None
        self.register_buffer("_class_weights_C", settings.class_weights_C, persistent=False)

    def sums(
        self,
        predictions: Predictions,
        batch: Batch,
        taking_part_B: Tensor | None = None,
        gather: Gather = whole,
        num_workers: int = 1,
    ) -> Tensor:
        """The loss sums (T,) of a worker's clips; `taking_part_B` bool, None = all. Concordance `gather`s all workers' predictions."""
        batch, how = _hide(batch, taking_part_B), self.settings
        if batch.emotion_probs is None:
            emotion = emotion_loss_sum(
                predictions.logits, batch.emotion, self._class_weights_C, how.label_smoothing, how.focal_gamma, batch.weight
            )
        else:
            emotion = soft_emotion_loss_sum(
                predictions.logits, batch.emotion_probs, self._class_weights_C, how.label_smoothing, how.focal_gamma, batch.weight
            )
        values = self._value_sums(predictions, batch, gather, num_workers)
        return torch.stack([emotion, *values, *self._reconstruction_sums(predictions, batch, taking_part_B)])

    def _reconstruction_sums(self, predictions: Predictions, batch: Batch, taking_part_B: Tensor | None) -> list[Tensor]:
        if not self.reconstructs:
            return []
        known_B = torch.ones_like(batch.emotion, dtype=torch.bool) if taking_part_B is None else taking_part_B
        rebuilt = [predictions.reconstructions[name] for name in self.reconstructs]
        return [reconstruction_loss_sum(one.predicted, one.target, known_B, batch.weight) for one in rebuilt]

    def _value_sums(self, predictions: Predictions, batch: Batch, gather: Gather, num_workers: int) -> list[Tensor]:
        if not self.values:
            return []
        if self.settings.value_loss == "mse":
            return [value_loss_sum(predictions.values[name], batch.values[name], batch.weight) for name in self.values]
        predicted_BV = torch.stack([predictions.values[name] for name in self.values], dim=1)
        label_BV = torch.stack([batch.values[name] for name in self.values], dim=1)
        return list(concordance_sums(predicted_BV, label_BV, gather, num_workers).unbind())

    def masses(self, batch: Batch, taking_part_B: Tensor | None = None) -> Tensor:
        """The mass (B, T) of each clip, from labels and presence alone: its class's weight, or 1, times its own; 0 = takes no part."""
        batch = _hide(batch, taking_part_B)
        if batch.emotion_probs is None:
            emotion_B = emotion_mass(batch.emotion, self._class_weights_C)
        else:
            emotion_B = soft_emotion_mass(batch.emotion_probs, self._class_weights_C)
        known_B = torch.ones_like(emotion_B) if taking_part_B is None else taking_part_B.float()
        values = [(~torch.isnan(batch.values[name])).float() for name in self.values]
        masses_BT = torch.stack([emotion_B, *values, *[known_B] * len(self.reconstructs)], dim=1)
        return masses_BT if batch.weight is None else masses_BT * batch.weight[:, None]

    def label_log_variances(self) -> list[float]:
        """The learnt log variance of each labelled term, without its fixed factor, so that it is that of the labels: s - log factor."""
        if self.log_variances is None:
            return []
        factors = self.fixed_weights[: self._num_labelled]
        return [s - math.log(factor) for s, factor in zip(self.log_variances.detach().tolist(), factors, strict=True)]

    def total(self, means_T: Tensor, known_T: Tensor, num_parts: int = 1) -> Tensor:
        """The loss of a batch, or of one of its parts, from its terms; `known_T` float, above 0 where a term has mass in the batch."""
        if self.log_variances is None:
            return torch.dot(means_T, self._weights_T)
        s_L, labelled = self.log_variances, slice(0, self._num_labelled)
        weighed_L = torch.exp(-s_L) * means_T[labelled] * self._weights_T[labelled]
        rest = torch.dot(means_T[self._num_labelled :], self._weights_T[self._num_labelled :])
        is_known_L = (known_T[labelled] > 0).float() / num_parts
        return weighed_L.sum() + 0.5 * torch.dot(s_L, is_known_L) + rest


def _hide(batch: Batch, taking_part_B: Tensor | None) -> Batch:
    """The batch with the labels of clips that take no part unknown."""
    if taking_part_B is None:
        return batch
    return replace(
        batch,
        emotion=torch.where(taking_part_B, batch.emotion, UNKNOWN),
        values={name: torch.where(taking_part_B, value_B, torch.nan) for name, value_B in batch.values.items()},
        emotion_probs=None if batch.emotion_probs is None else batch.emotion_probs * taking_part_B[:, None],
    )
