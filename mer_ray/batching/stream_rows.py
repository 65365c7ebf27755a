"""Whole streams outside of training: normalised by speakers, and padded.

Shapes: N clips, R rows (clips of pooled streams, frames of others), B clips, T frames of the longest, D feature dimension.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mer_ray.batching.features import StoredArray
from mer_ray.batching.normalise import Normalisation, fit_groups, speaker_groups
from mer_ray.batching.streams import Stream
from mer_ray.core.media_types import BoolArray


def normalise_stream(stream: Stream, speaker_ids: Sequence[str | None]) -> Stream:
    """A stream normalised by the statistics of each speaker's own clips, labelled or not: transductive for a test speaker.

    Raises:
        RunError: a clip without a speaker.

    """
    group_N = speaker_groups(speaker_ids)
    if len(stream.x_RD) == 0:
        return stream
    lengths_N = np.ones(len(group_N), np.int64) if stream.offsets_N1 is None else np.diff(stream.offsets_N1)
    group_R = torch.repeat_interleave(group_N, torch.from_numpy(lengths_N))
    kept_R = torch.from_numpy(np.repeat(stream.present_N, lengths_N))
    x_RD = torch.from_numpy(stream.x_RD).float()
    found = fit_groups(x_RD, kept_R, group_R, int(group_N.max()) + 1)
    normalised_RD = Normalisation(found.mean_D[group_R], found.scale_D[group_R]).apply(x_RD, kept_R)
    return replace(stream, x_RD=normalised_RD.numpy())


def pad_frames(stream: Stream, rows: slice) -> tuple[StoredArray, BoolArray]:
    """The frames (B, T, D) of some clips, float32, zero behind their end, and their mask (B, T); T is at least 1."""
    assert stream.offsets_N1 is not None
    present_B = stream.present_N[rows]
    starts_B, ends_B = stream.offsets_N1[:-1][rows], stream.offsets_N1[1:][rows]
    lengths_B = np.where(present_B, ends_B - starts_B, 0)
    padded_BTD = np.zeros((len(lengths_B), max(1, int(lengths_B.max(initial=0))), stream.spec.dim), np.float32)
    for row, (start, length) in enumerate(zip(starts_B.tolist(), lengths_B.tolist(), strict=True)):
        padded_BTD[row, :length] = stream.x_RD[start : start + length]
    return padded_BTD, np.arange(padded_BTD.shape[1]) < lengths_B[:, None]
