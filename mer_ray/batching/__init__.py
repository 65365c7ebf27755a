"""Stored rows -> Batch: align modalities, normalise, collate."""

from mer_ray.batching.collate import ResidentClips, collate
from mer_ray.batching.features import EncoderFeatures
from mer_ray.batching.normalise import NORMALISE_LABELS, Normalisation, Normalise, fit_normalisation, normalise_speakers
from mer_ray.batching.streams import Stream, StreamConfig, build_streams, pick_layers

__all__ = [
    "NORMALISE_LABELS",
    "EncoderFeatures",
    "Normalisation",
    "Normalise",
    "ResidentClips",
    "Stream",
    "StreamConfig",
    "build_streams",
    "collate",
    "fit_normalisation",
    "normalise_speakers",
    "pick_layers",
]
