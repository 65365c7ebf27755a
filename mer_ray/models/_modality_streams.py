"""Streams by modality, and as numbers that never hold what a clip lacks.

Shapes: B clips, D feature dimension.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mer_ray.core.batch import Batch, StreamSpec
from mer_ray.core.media_types import MODALITIES, Modality
from mer_ray.models._streams import as_pooled


def streams_by_modality(streams: Sequence[StreamSpec]) -> dict[Modality, tuple[StreamSpec, ...]]:
    """The streams of each modality that has any, always in the same order of modalities."""
    groups = {modality: tuple(spec for spec in streams if spec.modality == modality) for modality in MODALITIES}
    return {modality: specs for modality, specs in groups.items() if specs}


def pooled_or_zero(batch: Batch, spec: StreamSpec) -> Tensor:
    """A stream as (B, D), frames averaged over time; zero where absent, whatever stands there."""
    return torch.where(batch.present[spec.name][:, None], as_pooled(batch, spec), 0.0)


def has_any(batch: Batch, streams: Sequence[StreamSpec]) -> Tensor:
    """Which clips have at least one of the streams, bool (B,)."""
    return torch.stack([batch.present[spec.name] for spec in streams], dim=1).any(dim=1)
