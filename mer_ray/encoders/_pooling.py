"""Frames of all layers -> the features that a store keeps.

Shapes: T frames, P pooled frames, D feature dimension.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mer_ray.core.media_types import Features, FloatArray


def pool_features(
    frames: Mapping[str, FloatArray], num_frames: int, frame_s: float, sequences: Sequence[str], rate_hz: float | None
) -> Features:
    """Mean and deviation (population) of every layer (T, D) over time, and the frames of `sequences`, at `rate_hz` where given."""
    return Features(
        num_frames=num_frames,
        frame_s=frame_s,
        mean={layer: frames_TD.mean(axis=0, dtype=np.float64).astype(np.float32) for layer, frames_TD in frames.items()},
        std={layer: frames_TD.std(axis=0, dtype=np.float64).astype(np.float32) for layer, frames_TD in frames.items()},
        sequences={layer: pool_in_time(frames[layer], frame_s, rate_hz) for layer in sequences},
    )


def pool_in_time(frames_TD: FloatArray, frame_s: float, rate_hz: float | None) -> FloatArray:
    """The mean of the frames that start in each window of 1 / `rate_hz` seconds: (P, D), P = floor((T - 1) * frame_s * rate_hz) + 1."""
    if rate_hz is None:
        return frames_TD.astype(np.float32)
    # The small term keeps a frame that starts on a border out of the window before, whatever the product rounds to.
    windows_T = np.floor(np.arange(len(frames_TD)) * (frame_s * rate_hz) + 1e-9).astype(int)
    starts_P = np.flatnonzero(np.diff(windows_T, prepend=-1))
    counts_P = np.diff(starts_P, append=len(frames_TD))
    return (np.add.reduceat(frames_TD, starts_P, axis=0, dtype=np.float64) / counts_P[:, None]).astype(np.float32)
