"""Batch -> Predictions: fusion models. A new model is one file here and one line in `AnyModel`."""

from typing import Annotated

from pydantic import Field

from mer_ray.models._base import FusionModel, FusionModelConfig, TrainStep
from mer_ray.models.attention import AttentionConfig, AttentionFusion
from mer_ray.models.audio_guided import AudioGuidedConfig
from mer_ray.models.early_fusion import EarlyFusionConfig
from mer_ray.models.hierarchical import HierarchicalConfig
from mer_ray.models.late_fusion import LateFusionConfig
from mer_ray.models.lmf import LowRankFusionConfig
from mer_ray.models.mult import MultConfig
from mer_ray.models.plugin import PluginModelConfig
from mer_ray.models.tfn import TensorFusionConfig
from mer_ray.models.vavl import VavlConfig

AnyModel = Annotated[
    AttentionConfig
    | HierarchicalConfig
    | AudioGuidedConfig
    | EarlyFusionConfig
    | LateFusionConfig
    | TensorFusionConfig
    | LowRankFusionConfig
    | MultConfig
    | VavlConfig
    | PluginModelConfig,
    Field(discriminator="name"),
]

__all__ = [
    "AnyModel",
    "AttentionConfig",
    "AttentionFusion",
    "AudioGuidedConfig",
    "EarlyFusionConfig",
    "FusionModel",
    "FusionModelConfig",
    "HierarchicalConfig",
    "LateFusionConfig",
    "LowRankFusionConfig",
    "MultConfig",
    "PluginModelConfig",
    "TensorFusionConfig",
    "TrainStep",
    "VavlConfig",
]
