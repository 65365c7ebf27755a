"""Face crops that a corpus ships: one `.npy` per clip, a picture for each frame of its video.

Shapes: P pictures in the file, N pictures wanted, H height, W width.
"""

from collections.abc import Collection, Iterator, Mapping
from tokenize import TokenError
from typing import cast

import numpy as np
from av.video.frame import VideoFrame

from mer_ray.core.errors import MediaError
from mer_ray.core.faces import StoredFaces
from mer_ray.core.media_types import ByteArray, Clip, FrameFormat, Frames, InputFormat
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.container import check_pixels, explain_errors, refuse_irregular
from mer_ray.decoders.frame_choice import Indices, Times, choose_frames, cut_pieces
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.scaling import FrameScaler

# What numpy raises for a damaged header, which it parses as Python, and for a size that no file can have.
_READING_FAULTS = (ValueError, EOFError, SyntaxError, TypeError, TokenError, OverflowError)
_RIGHT = "face crops are a .npy of (N, H, W, 3) uint8"


class FaceArray:
    """A clip's crops on disk, of which only the wanted ones are read."""

    def __init__(self, path: str, clip: Clip, budget: Budget, limits: MediaLimits) -> None:
        """Map `path`, the local copy of the clip's `faces_path`.

        Raises:
            MediaError: missing, not such an array, beyond the limits, or of a clip whose duration is unknown.

        """
        name = clip.faces_path or path
        self._images = _map_array(path, name)
        check_pixels(name, self._images.shape[2], self._images.shape[1], limits)
        self._budget = budget
        num_images = len(self._images)
        self._duration_s = _duration_s(clip, name)
        self._times_P: Times = np.linspace(0.0, self._duration_s, num_images, endpoint=False)

    def finish(self, formats: Collection[FrameFormat]) -> Mapping[InputFormat, Frames]:
        """RGB uint8 (N, size, size, 3) of each format, times in seconds from the clip's start; no pictures where the file has none.

        Raises:
            MediaError: beyond the budget.

        """
        return {wanted: self._read(wanted, self._choose(wanted)) for wanted in formats}

    def pieces(self, wanted: FrameFormat, piece_s: float) -> Iterator[Frames]:
        """What `finish` gives for one format, in consecutive pieces of as many frames as it wants in `piece_s`; at least one.

        Raises:
            MediaError: beyond the budget.

        """
        chosen = self._choose(wanted)
        for piece in cut_pieces(wanted, len(chosen), self._duration_s, piece_s):
            frames = self._read(wanted, chosen[piece])
            yield frames
            self._budget.give_back(frames.images.nbytes)

    def _choose(self, wanted: FrameFormat) -> Indices:
        if not len(self._images):
            return np.empty(0, np.intp)
        return choose_frames(wanted, self._times_P, 0.0, self._duration_s)

    def _read(self, wanted: FrameFormat, chosen: Indices) -> Frames:
        assert isinstance(wanted.faces, StoredFaces)
        self._budget.take(len(chosen) * wanted.size**2 * 3)
        images = np.empty((len(chosen), wanted.size, wanted.size, 3), np.uint8)
        scaler = FrameScaler(None)
        for row, index in enumerate(chosen):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(self._images[index]), format=f"{wanted.faces.channels}24")
            images[row] = scaler.scale(frame, wanted.size, wanted.crop)
        return Frames(images, self._times_P[chosen])


def _map_array(path: str, name: str) -> ByteArray:
    with explain_errors(name):
        refuse_irregular(path, name)
        try:
            # Never unpickled: a file of Python objects could run code.
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except _READING_FAULTS as error:
            raise MediaError(f"{name}: not an array that can be read ({' '.join(str(error).split())[:200]}); {_RIGHT}") from error
    if not isinstance(images, np.ndarray):
        raise MediaError(f"{name}: an archive of several arrays; {_RIGHT}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:]:
        raise MediaError(f"{name}: an array of {images.shape} {images.dtype}; {_RIGHT}")
    return cast(ByteArray, images)


def _duration_s(clip: Clip, name: str) -> float:
    """How long the pictures of the file last."""
    duration_s = clip.duration_s
    if duration_s is None and clip.end_s is not None:
        duration_s = clip.end_s - (clip.start_s or 0.0)
    if duration_s is not None and duration_s > 0:
        return duration_s
    raise MediaError(f"{name}: the clip's duration is unknown, so its crops have no times; the manifest needs its video or its duration_s")
