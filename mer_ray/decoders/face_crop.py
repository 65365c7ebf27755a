"""Cuts a face out of a picture: a square of the wanted size, with the eyes level."""

from math import atan2, ceil, cos, hypot, sin

import cv2
import numpy as np

from mer_ray.core.media_types import ByteArray
from mer_ray.decoders.face_detector import Face

# From the side the eyes lie almost behind one another, and their line says nothing of how the head is held.
_MIN_EYES_OVER_HEIGHT = 0.5
# The side of the finest square, 200 MB: with a margin, a face that fills a large picture would take gigabytes.
_MAX_FINE_PIXELS = 8192


def crop_face(image: ByteArray, face: Face, size: int, margin: float, *, align: bool) -> ByteArray:
    """RGB uint8 (size, size, 3): a square of (1 + margin) times the box's longer side around its centre; black beyond the picture."""
    left, top, width, height = (float(value) for value in face.box)
    side = max(width, height, 1.0) * (1 + margin)
    # Fine enough that no pixel of the picture is left out; blocks of it are then averaged.
    num_blocks = max(1, min(ceil(side / size), _MAX_FINE_PIXELS // size))
    fine = num_blocks * size
    scale, turn = side / fine, tilt(face) if align else 0.0
    along, across = scale * cos(turn), scale * sin(turn)
    centre_x, centre_y = left + width / 2 - 0.5, top + height / 2 - 0.5
    middle = (fine - 1) / 2
    to_picture = np.array(
        [
            [along, -across, centre_x - (along - across) * middle],
            [across, along, centre_y - (across + along) * middle],
        ]
    )
    square = cv2.warpAffine(image, to_picture, (fine, fine), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if num_blocks > 1:
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(square, np.uint8)


def tilt(face: Face) -> float:
    """How far a head leans clockwise, in radians: by the line of its eyes; seen from the side, by the line from eyes to mouth."""
    left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks.astype(float)
    eye_x, eye_y = right_eye - left_eye
    down_x, down_y = (left_mouth + right_mouth - left_eye - right_eye) / 2
    if hypot(eye_x, eye_y) < _MIN_EYES_OVER_HEIGHT * hypot(down_x, down_y):
        return atan2(-down_x, down_y)
    return atan2(eye_y, eye_x)
