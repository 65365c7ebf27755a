"""A clip whose frames are larger than a shard: decoded and encoded piece by piece, so that only one piece is in memory.

Shapes: P pieces, D feature dimension.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mer_ray.core.media_types import Clip, Features, FloatArray, FrameFormat, InputFormat
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.pieces import decode_pieces
from mer_ray.encoders import Encoder, EncoderConfig
from mer_ray.extraction.shards import decoded_bytes

# Whole seconds, so that frames and pooled frames fall on the borders of pieces; beyond it nothing is gained.
MAX_PIECE_S = 3600


@dataclass(frozen=True)
class LongClip:
    """Stands for the frames of a clip that are decoded when they are encoded, `piece_s` seconds at a time.

    `copies` are local copies of remote files, as long as they are there.
    """

    clip: Clip
    wanted: FrameFormat
    limits: MediaLimits
    piece_s: int
    copies: Mapping[str, str]


def piece_seconds(
    clip: Clip,
    wanted: InputFormat,
    readers: Iterable[EncoderConfig],
    limits: MediaLimits,
    max_bytes: float,
    copies: Mapping[str, str],
) -> LongClip | None:
    """The clip as pieces of at most `max_bytes` of frames; None where it fits whole, or where an encoder needs all frames at once."""
    if not isinstance(wanted, FrameFormat) or wanted.rate_hz is None or clip.duration_s is None:
        return None
    configs = list(readers)
    if decoded_bytes(np.array([clip.duration_s], np.float32), [wanted])[0] <= max_bytes or not all(
        config.frames_are_independent for config in configs
    ):
        return None
    rates = [wanted.rate_hz, *(config.rate_hz for config in configs if config.rate_hz is not None)]
    fitting = max_bytes / (3.0 * wanted.size**2 * wanted.rate_hz)
    for piece_s in range(max(1, math.floor(fitting)), MAX_PIECE_S):
        if all(float(rate * piece_s).is_integer() for rate in rates):
            return LongClip(clip, wanted, limits, piece_s, copies)
    return None


def encode_pieces(encoder: Encoder, long_clip: LongClip) -> Features:
    """Features as of the whole clip.

    Raises:
        MediaError: as `decode_clip`.
        EncoderError: as `Encoder.encode`.

    """
    pieces, no_face_share = [], None
    # A stage of its own that decodes has dropped its copies by now.
    copies = {path: copy for path, copy in long_clip.copies.items() if os.path.exists(copy)}
    for frames in decode_pieces(long_clip.clip, long_clip.wanted, long_clip.limits, long_clip.piece_s, copies):
        no_face_share = frames.no_face_share
        if len(frames.images):
            pieces += encoder.encode([frames])
    return merge_pieces(pieces, no_face_share)


def merge_pieces(pieces: Sequence[Features], no_face_share: float | None = None) -> Features:
    """One clip's features from those of its consecutive pieces: frames end to end, statistics by the law of total variance."""
    num_frames_P = np.array([piece.num_frames for piece in pieces], np.float64)
    if not num_frames_P.sum():
        return Features(0, 0.0, no_face_share=no_face_share)
    shares_P1 = (num_frames_P / num_frames_P.sum())[:, None]

    mean: dict[str, FloatArray] = {}
    std: dict[str, FloatArray] = {}
    for layer in pieces[0].mean:
        means_PD = np.stack([piece.mean[layer] for piece in pieces]).astype(np.float64)
        stds_PD = np.stack([piece.std[layer] for piece in pieces]).astype(np.float64)
        mean_D = (shares_P1 * means_PD).sum(axis=0)
        variance_D = (shares_P1 * (stds_PD**2 + (means_PD - mean_D) ** 2)).sum(axis=0)
        mean[layer], std[layer] = mean_D.astype(np.float32), np.sqrt(variance_D).astype(np.float32)
    sequences = {layer: np.concatenate([piece.sequences[layer] for piece in pieces]) for layer in pieces[0].sequences}
    return Features(int(num_frames_P.sum()), pieces[0].frame_s, mean, std, sequences, no_face_share)
