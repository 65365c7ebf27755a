"""Batch -> Predictions: fusion models. A new model is one file here and one line in `AnyModel`."""

from typing import Annotated

from pydantic import Field

from mer_ray.models._base import FusionModel, FusionModelConfig, TrainStep
from mer_ray.models.attention import AttentionConfig, AttentionFusion
from mer_ray.models.plugin import PluginModelConfig

AnyModel = Annotated[AttentionConfig | PluginModelConfig, Field(discriminator="name")]

__all__ = ["AnyModel", "AttentionConfig", "AttentionFusion", "FusionModel", "FusionModelConfig", "PluginModelConfig", "TrainStep"]
