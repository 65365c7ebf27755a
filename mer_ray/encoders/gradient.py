"""The `gradient` encoder: pictures without weights, ten layers of edges, intensities and motion.

Shapes: N frames, H height, W width.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mer_ray.core.media_types import EncoderInput, Features, FloatArray, FrameFormat, Frames
from mer_ray.encoders._base import Encoder
from mer_ray.encoders._frame_choice import FrameEncoderConfig, spacing_s
from mer_ray.encoders._gradient_frames import (
    CELL_PIXELS,
    NUM_ORIENTATIONS,
    cell_means,
    differences,
    flow,
    oriented_gradients,
    shrink,
    slopes,
    standardise,
    to_grey,
)
from mer_ray.encoders._pooling import pool_features

SIZE = 128
FINE_CELLS, MIDDLE_CELLS, COARSE_CELLS = (size // CELL_PIXELS for size in (SIZE, SIZE // 2, SIZE // 4))
GRID_CELLS = 8
LAYERS = {
    "hog_fine": FINE_CELLS**2 * NUM_ORIENTATIONS,
    "hog_middle": MIDDLE_CELLS**2 * NUM_ORIENTATIONS,
    "hog_coarse": COARSE_CELLS**2 * NUM_ORIENTATIONS,
    "hog_change": MIDDLE_CELLS**2 * NUM_ORIENTATIONS,
    "intensity_fine": 16**2,
    "intensity_coarse": GRID_CELLS**2,
    "contrast": GRID_CELLS**2,
    "motion_energy": GRID_CELLS**2,
    "motion_flow": 2 * GRID_CELLS**2,
    "head_motion": 5,
}


class GradientConfig(FrameEncoderConfig):
    """Frames of 128 x 128 pixels, `num_frames` evenly spaced or `frame_rate_hz` a second."""

    name: Literal["gradient"] = "gradient"

    @property
    def input_format(self) -> FrameFormat:
        """Frames of 128 x 128."""
        return FrameFormat(SIZE, self.num_frames, self.frame_rate_hz, self.crop)

    def layers(self) -> dict[str, int]:
        """Edges at three scales and their change, intensities at two, contrast, motion by cell and of the whole picture."""
        return dict(LAYERS)

    def build(self, device: str) -> "GradientEncoder":
        """The encoder; it computes on the CPU whatever the device."""
        return GradientEncoder(self)


class GradientEncoder(Encoder):
    """Histograms of oriented gradients, intensities and motion; about 30 ms of one core for 16 frames."""

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        return [self._encode_frames(clip_input) for clip_input in inputs if isinstance(clip_input, Frames)]

    def _encode_frames(self, frames: Frames) -> Features:
        grey_NHW = to_grey(frames.images)
        half_NHW, quarter_NHW, eighth_NHW = (shrink(grey_NHW, size) for size in (SIZE // 2, SIZE // 4, SIZE // 8))
        hog_middle_ND = oriented_gradients(half_NHW)
        frame_s = self.frame_s if self.frame_s is not None else spacing_s(frames)
        layers = {
            "hog_fine": oriented_gradients(grey_NHW),
            "hog_middle": hog_middle_ND,
            "hog_coarse": oriented_gradients(quarter_NHW),
            "hog_change": np.abs(differences(hog_middle_ND)),
            "intensity_fine": standardise(eighth_NHW).reshape(len(grey_NHW), -1),
            "intensity_coarse": cell_means(standardise(quarter_NHW), GRID_CELLS),
            "contrast": cell_means(np.hypot(*slopes(half_NHW)), GRID_CELLS),
            "motion_energy": cell_means(np.abs(differences(half_NHW)), GRID_CELLS),
            "motion_flow": flow(quarter_NHW, GRID_CELLS),
            "head_motion": _head_motion(quarter_NHW),
        }
        return pool_features(layers, len(grey_NHW), frame_s, self.sequences, self.rate_hz)


def _head_motion(grey_NHW: FloatArray) -> FloatArray:
    """Flow of the whole picture to the right and down, its sizes, and the mean change of intensity: (N, 5)."""
    flow_N2 = flow(grey_NHW, 1)
    change_N1 = np.abs(differences(grey_NHW)).mean(axis=(1, 2))[:, None]
    return np.concatenate([flow_N2, np.abs(flow_N2), change_N1], axis=1)
