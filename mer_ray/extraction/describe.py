"""The record of an encoder that lies beside its features."""

from mer_ray.core.artefacts import versions
from mer_ray.core.faces import DetectedFaces
from mer_ray.core.media_types import FrameFormat
from mer_ray.encoders import Encoder, EncoderConfig, encoder_identity, encoder_key
from mer_ray.store.record import EncoderRecord


def describe_encoder(config: EncoderConfig, encoder: Encoder) -> EncoderRecord:
    """Config, layers, versions, weights digest and licence of a built encoder."""
    return EncoderRecord(
        name=config.stored_name,
        key=encoder_key(config),
        identity=encoder_identity(config),
        config=config.model_dump(mode="json"),
        modality=config.modality,
        layers=dict(encoder.stored_layers),
        sequences=config.sequences,
        rate_hz=config.rate_hz,
        frame_s=encoder.frame_s,
        dtype=config.dtype,
        detects_faces=isinstance(config.input_format, FrameFormat) and isinstance(config.input_format.faces, DetectedFaces),
        versions=versions(),
        weights_digest=config.weights_digest(),
        noise_digest=None if config.degradation is None else config.degradation.noise_digest(),
        licence=encoder.licence,
    )
