"""Clips longer than a network's window: overlapping windows, and their kept frames put together again.

Shapes: W windows, T frames, D feature dimension, L layers.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer_ray.core.media_types import FloatArray


@dataclass(frozen=True, slots=True)
class Window:
    """Frames `start` to `stop` of a clip go through the network together; `keep_start` to `keep_stop` of the clip are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def num_frames(self) -> int:
        """Frames that go through the network."""
        return self.stop - self.start

    @property
    def num_kept(self) -> int:
        """Frames that are kept."""
        return self.keep_stop - self.keep_start

    @property
    def first_kept(self) -> int:
        """The first kept frame, counted from the window's start."""
        return self.keep_start - self.start


def cut_windows(num_frames: int, max_frames: int, min_overlap: int) -> list[Window]:
    """Windows of at most `max_frames` that keep every frame of a clip exactly once.

    As few windows as have `min_overlap` common frames with their neighbours, all equally long and evenly spread; neighbours
    share an overlap half and half, so a kept frame has at least `min_overlap` // 2 frames of context on either side, less only
    at the clip's ends.
    """
    if num_frames <= max_frames:
        return [Window(0, num_frames, 0, num_frames)]
    num_windows = math.ceil((num_frames - min_overlap) / (max_frames - min_overlap))
    starts = [number * (num_frames - max_frames) // (num_windows - 1) for number in range(num_windows)]
    borders = [(start + previous + max_frames) // 2 for previous, start in itertools.pairwise(starts)]
    return [
        Window(start, start + max_frames, first, end)
        for start, first, end in zip(starts, [0, *borders], [*borders, num_frames], strict=True)
    ]


def merge_statistics(
    num_kept: Sequence[int], means_WLD: Sequence[FloatArray], stds_WLD: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation (population) over all kept frames, float32 (L, D), from those of each window (Chan et al., 1979)."""
    if len(num_kept) == 1:
        return means_WLD[0], stds_WLD[0]
    shares_W11 = (np.asarray(num_kept, dtype=np.float64) / sum(num_kept))[:, None, None]
    windows_WLD = np.stack(means_WLD).astype(np.float64)
    mean_LD = (shares_W11 * windows_WLD).sum(axis=0)
    variance_LD = (shares_W11 * (np.stack(stds_WLD).astype(np.float64) ** 2 + (windows_WLD - mean_LD) ** 2)).sum(axis=0)
    return mean_LD.astype(np.float32), np.sqrt(variance_LD).astype(np.float32)
