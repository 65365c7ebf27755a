"""Batch -> Predictions: fusion models. A new model is one file here and one line in `AnyModel`."""

from mer_ray.models._base import FusionModel
from mer_ray.models.attention import AttentionConfig, AttentionFusion

# A discriminated union on `name` as soon as there are two: pydantic wants at least two members for one.
AnyModel = AttentionConfig

__all__ = ["AnyModel", "AttentionConfig", "AttentionFusion", "FusionModel"]
