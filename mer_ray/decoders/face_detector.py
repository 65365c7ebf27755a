"""Finds the faces of a picture with YuNet, read by OpenCV from an ONNX file that the user brings."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from mer_ray.core.errors import ConfigError
from mer_ray.core.faces import DetectedFaces
from mer_ray.core.media_types import ByteArray, FloatArray

# YuNet is trained on faces of 10 to 300 pixels: about what people's heads measure in pictures of this size.
MAX_PIXELS = 640 * 360
_NON_MAXIMUM_OVERLAP = 0.3
_MAX_CANDIDATES = 5000
_CHECK_PIXELS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face in a picture, in pixels: `box` (4,) left, top, width, height; `landmarks` (5, 2) as seen, from left to right.

    Landmarks: left eye, right eye, nose, left and right corner of the mouth, each (x, y).
    """

    box: FloatArray
    landmarks: FloatArray

    @property
    def area(self) -> float:
        """Pixels of the box."""
        return float(self.box[2] * self.box[3])

    def scaled(self, factor_x: float, factor_y: float) -> "Face":
        """The face in a picture of another size."""
        factors = np.array([factor_x, factor_y], np.float32)
        return Face(self.box * np.tile(factors, 2), self.landmarks * factors)

    def towards(self, other: "Face", weight: float) -> "Face":
        """The face on its way to another place: 0 here, 1 there."""
        return Face(
            self.box * np.float32(1 - weight) + other.box * np.float32(weight),
            self.landmarks * np.float32(1 - weight) + other.landmarks * np.float32(weight),
        )


class FaceDetector:
    """One loaded detector. Not to be shared between threads: it has its picture size and its buffers in itself."""

    def __init__(self, faces: DetectedFaces) -> None:
        faces.digest()
        # Pictures are decoded by as many processes as there are cores: threads of their own would only wait for each other.
        cv2.setNumThreads(1)
        size = (_CHECK_PIXELS, _CHECK_PIXELS)
        try:
            with _without_warnings():
                self._network = cv2.FaceDetectorYN.create(
                    str(faces.weights), "", size, faces.min_score, _NON_MAXIMUM_OVERLAP, _MAX_CANDIDATES
                )
            # Another kind of network is noticed only when it runs.
            self._network.detect(np.zeros((*size, 3), np.uint8))
        except cv2.error as error:
            raise ConfigError(
                f"faces.weights: {faces.weights} is not a face detector that cv2.FaceDetectorYN can run ({error.err}); "
                "give a YuNet file in ONNX, e.g. yunet_n_dynamic.onnx of libfacedetection"
            ) from error

    def find(self, image: ByteArray) -> list[Face]:
        """The faces of an RGB picture (H, W, 3), the surest first."""
        height, width = image.shape[:2]
        self._network.setInputSize((width, height))
        _, found_F15 = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        # A network of other origin may overflow.
        sound = [] if found_F15 is None else [row for row in found_F15 if np.isfinite(row).all() and (row[2:4] > 0).all()]
        return [Face(row[:4].copy(), row[4:14].reshape(5, 2).copy()) for row in sound]


@contextmanager
def _without_warnings() -> Iterator[None]:
    # OpenCV 5 warns of its own default target for every network.
    logging = cast(Any, cv2.utils).logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(level)


_of_thread = threading.local()


def load_detector(faces: DetectedFaces) -> FaceDetector:
    """The detector of the calling thread: loaded once, and again where the file has changed.

    Raises:
        ConfigError: no such file, or not a face detector.

    """
    loaded: dict[tuple[str, float], FaceDetector] = _of_thread.__dict__.setdefault("detectors", {})
    key = (faces.digest(), faces.min_score)
    if key not in loaded:
        loaded[key] = FaceDetector(faces)
    return loaded[key]
