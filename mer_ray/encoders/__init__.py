"""Arrays become features, one family per file."""

from mer_ray.encoders._base import Encoder, EncoderConfig, encoder_identity, encoder_key
from mer_ray.encoders.spectral import SpectralConfig

AnyEncoder = SpectralConfig

__all__ = ["AnyEncoder", "Encoder", "EncoderConfig", "encoder_identity", "encoder_key"]
