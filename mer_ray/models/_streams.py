"""Streams as models read them: every model takes pooled streams and frames.

Shapes: B clips, T frames, D feature dimension, S streams.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mer_ray.core.batch import Batch, StreamSpec


def as_pooled(batch: Batch, spec: StreamSpec) -> Tensor:
    """A stream as (B, D): frames by their mean over real frames (our choice), zero where absent."""
    x = batch.streams[spec.name]
    return masked_mean(x, batch.frame_masks[spec.name]) if spec.is_sequence else x


def as_frames(batch: Batch, spec: StreamSpec) -> tuple[Tensor, Tensor]:
    """A stream as (B, T, D) and its mask (B, T): a pooled one is a single frame."""
    x = batch.streams[spec.name]
    if spec.is_sequence:
        return x, batch.frame_masks[spec.name]
    return x[:, None], batch.present[spec.name][:, None]


def masked_mean(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over real frames (B, D), zero without any."""
    # where, not a product: padding may hold anything, NaN too.
    total_BD = torch.where(mask_BT[:, :, None], x_BTD, 0.0).sum(dim=1)
    return total_BD / mask_BT.sum(dim=1, keepdim=True).clamp_min(1)


def absent_streams(batch: Batch, specs: Sequence[StreamSpec]) -> Tensor:
    """Which clips lack which streams, bool (B, S)."""
    return ~torch.stack([batch.present[spec.name] for spec in specs], dim=1)
