"""Arrays become features, one family per file."""

from typing import Annotated

from pydantic import Field

from mer_ray.encoders._base import Encoder, EncoderConfig, encoder_identity, encoder_key
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.spectral import SpectralConfig

AnyEncoder = Annotated[
    SpectralConfig  # audio
    | GradientConfig  # vision
    | HashingConfig  # text
    | HubertEncoderConfig,  # audio, with weights
    Field(discriminator="name"),
]

__all__ = ["AnyEncoder", "Encoder", "EncoderConfig", "encoder_identity", "encoder_key"]
