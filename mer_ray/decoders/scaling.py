"""A decoded picture to a square of RGB pixels: upright, in its true proportions, cropped or letterboxed."""

from fractions import Fraction
from math import sqrt
from typing import Literal, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from mer_ray.core.media_types import ByteArray

# Scaling the whole picture and cutting the square out is fastest, but the rest of a very long picture would cost more than it saves.
_MAX_LONG_SIDES = 4


class FrameScaler:
    """Scales the frames of one stream; keeps FFmpeg's scaler between frames."""

    def __init__(self, pixel_aspect: Fraction | None) -> None:
        self._pixel_aspect = float(pixel_aspect) if pixel_aspect else 1.0
        self._reformatter = VideoReformatter()

    def scale(self, frame: VideoFrame, size: int, crop: Literal["centre", "whole"]) -> ByteArray:
        """One picture, RGB uint8 (size, size, 3): the largest centred square, or all of it on black."""
        quarter_turns = round(frame.rotation / 90)
        if crop == "centre" and max(frame.width, frame.height) > _MAX_LONG_SIDES * min(frame.width, frame.height):
            frame = _cut_square(frame, self._pixel_aspect)
            width = height = size
        else:
            width, height = self._scaled_size(frame, size, crop)
        image = self._reformat(frame, width, height)
        square = _cut_centre(image, size) if crop == "centre" else _letterbox(image, size)
        return np.rot90(square, quarter_turns)

    def upright_size(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height of the upright picture with square pixels."""
        width, height = max(1, round(frame.width * self._pixel_aspect)), frame.height
        return (height, width) if round(frame.rotation / 90) % 2 else (width, height)

    def upright(self, frame: VideoFrame, max_pixels: int | None = None) -> ByteArray:
        """The whole picture upright with square pixels, RGB uint8 (H, W, 3), scaled down to `max_pixels` at most."""
        width, height = max(1, round(frame.width * self._pixel_aspect)), frame.height
        if max_pixels is not None and width * height > max_pixels:
            factor = sqrt(max_pixels / (width * height))
            width, height = max(1, int(width * factor)), max(1, int(height * factor))
        return np.ascontiguousarray(np.rot90(self._reformat(frame, width, height), round(frame.rotation / 90)))

    def _reformat(self, frame: VideoFrame, width: int, height: int) -> ByteArray:
        shrinks = width * height < frame.width * frame.height
        scaled = self._reformatter.reformat(
            frame, width, height, format="rgb24", interpolation="AREA" if shrinks else "BILINEAR", threads=1
        )
        return cast(ByteArray, scaled.to_ndarray())

    def _scaled_size(self, frame: VideoFrame, size: int, crop: Literal["centre", "whole"]) -> tuple[int, int]:
        width, height = frame.width * self._pixel_aspect, float(frame.height)
        factor = size / (min(width, height) if crop == "centre" else max(width, height))
        return max(1, round(width * factor)), max(1, round(height * factor))


def _cut_square(frame: VideoFrame, pixel_aspect: float) -> VideoFrame:
    image = cast(ByteArray, frame.to_ndarray(format="rgb24"))
    height, width = image.shape[:2]
    side = min(width * pixel_aspect, height)
    cut_width, cut_height = max(1, round(side / pixel_aspect)), max(1, round(side))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    square = np.ascontiguousarray(image[top : top + cut_height, left : left + cut_width])
    return VideoFrame.from_ndarray(square, format="rgb24")


def _cut_centre(image: ByteArray, size: int) -> ByteArray:
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def _letterbox(image: ByteArray, size: int) -> ByteArray:
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - image.shape[0]) // 2, (size - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square
