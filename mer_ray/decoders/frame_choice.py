"""Which pictures of a clip a frame format wants.

Shapes: P pictures of the stream, N frames wanted.
"""

import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import FrameFormat

Times = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

# Matroska rounds times to a millisecond: a centre that falls on the change of two pictures must not depend on it.
_ROUNDING_S = 0.001


def choose_frames(frame_format: FrameFormat, times_P: Times, begin_s: float, end_s: float) -> Indices:
    """Indices (N,) of the pictures on screen at the centres of equal intervals of [begin_s, end_s), each picture once.

    `num_frames` intervals, or intervals of 1 / `rate_hz`. So there are never more frames than pictures: a clip with fewer pictures than
    `num_frames` gives each of them, a one-picture video gives one. Our choice.
    """
    duration_s = end_s - begin_s
    if frame_format.num_frames is not None:
        num_intervals = frame_format.num_frames
        interval_s = duration_s / num_intervals
    else:
        assert frame_format.rate_hz is not None
        num_intervals = max(1, round(duration_s * frame_format.rate_hz))
        interval_s = min(1 / frame_format.rate_hz, duration_s / num_intervals)
    centres_s = _ROUNDING_S + begin_s + (np.arange(num_intervals) + 0.5) * interval_s
    on_screen = np.searchsorted(times_P, centres_s, side="right") - 1
    return np.unique(np.maximum(on_screen, 0))


def cut_pieces(frame_format: FrameFormat, num_frames: int, duration_s: float, piece_s: float) -> list[slice]:
    """The frames that a format has got of `duration_s`, cut into pieces of as many as it wants in `piece_s`; at least one piece.

    Cut by number and not by time, so that frames averaged in groups fall into the same groups as without pieces.
    """
    rate_hz = frame_format.rate_hz if frame_format.num_frames is None else frame_format.num_frames / duration_s
    assert rate_hz is not None
    length = max(1, round(rate_hz * piece_s))
    return [slice(begin, begin + length) for begin in range(0, max(1, num_frames), length)]
