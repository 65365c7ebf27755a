"""Arrays become features, one family per file."""

from typing import Annotated

from pydantic import Field

from mer_ray.encoders._base import Encoder, EncoderConfig, encoder_identity, encoder_key, network_key
from mer_ray.encoders._pooling import pool_features
from mer_ray.encoders.bert import BertEncoderConfig
from mer_ray.encoders.causal_lm import CausalLmConfig
from mer_ray.encoders.clip import ClipEncoderConfig
from mer_ray.encoders.efficientnet import EfficientNetConfig
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.manet import ManetConfig
from mer_ray.encoders.plugin import PluginEncoderConfig
from mer_ray.encoders.resnet_fer import ResnetFerConfig
from mer_ray.encoders.sound_quality import SoundQualityConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.encoders.wav2vec2 import Wav2Vec2EncoderConfig
from mer_ray.encoders.wavlm import WavLMEncoderConfig
from mer_ray.encoders.whisper import WhisperEncoderConfig

AnyEncoder = Annotated[
    SpectralConfig  # audio
    | SoundQualityConfig
    | GradientConfig  # vision
    | HashingConfig  # text
    | BertEncoderConfig  # text, with weights
    | CausalLmConfig  # text, with weights
    | HubertEncoderConfig  # audio, with weights
    | Wav2Vec2EncoderConfig
    | WavLMEncoderConfig
    | WhisperEncoderConfig
    | ClipEncoderConfig  # vision, with weights
    | EfficientNetConfig
    | ManetConfig
    | ResnetFerConfig
    | PluginEncoderConfig,  # whatever its file says
    Field(discriminator="name"),
]

__all__ = [
    "AnyEncoder",
    "Encoder",
    "EncoderConfig",
    "PluginEncoderConfig",
    "encoder_identity",
    "encoder_key",
    "network_key",
    "pool_features",
]
