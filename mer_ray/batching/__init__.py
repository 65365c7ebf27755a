"""Stored rows -> Batch: align modalities, normalise, collate."""

from mer_ray.batching.collate import ResidentClips, collate, collate_labels
from mer_ray.batching.features import EncoderFeatures, Frames, StoredArray
from mer_ray.batching.frame_bank import FrameBank
from mer_ray.batching.normalise import (
    NORMALISE_LABELS,
    Normalisation,
    Normalise,
    fit_groups,
    fit_normalisation,
    speaker_groups,
)
from mer_ray.batching.pooled_bank import PooledBank
from mer_ray.batching.stream_rows import normalise_stream, pad_frames
from mer_ray.batching.streams import Stream, StreamConfig, build_streams, pick_layers

__all__ = [
    "NORMALISE_LABELS",
    "EncoderFeatures",
    "FrameBank",
    "Frames",
    "Normalisation",
    "Normalise",
    "PooledBank",
    "ResidentClips",
    "StoredArray",
    "Stream",
    "StreamConfig",
    "build_streams",
    "collate",
    "collate_labels",
    "fit_groups",
    "fit_normalisation",
    "normalise_stream",
    "pad_frames",
    "pick_layers",
    "speaker_groups",
]
