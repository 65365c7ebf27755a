"""A drawn face that speaks: a speaker's look, a pose per frame, and the picture of both.

Shapes: N frames, H height, W width, P points of an outline (x right, y down, in half head widths around the head's
centre). Colours are RGB.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import ByteArray
from mer_ray.corpora.synthetic.expression import FaceExpression

Points = npt.NDArray[np.float64]
Colour = tuple[int, int, int]
HairStyle = Literal["cap", "parted", "long", "curly", "bun"]

SKINS: tuple[Colour, ...] = ((255, 224, 196), (241, 194, 155), (224, 172, 128), (198, 134, 92), (150, 98, 66), (110, 72, 52))
HAIRS: tuple[Colour, ...] = ((36, 28, 26), (74, 48, 34), (118, 76, 44), (176, 122, 62), (214, 178, 110), (150, 66, 40), (128, 128, 134))
SHIRTS: tuple[Colour, ...] = ((66, 110, 180), (188, 84, 84), (86, 150, 110), (150, 110, 176), (220, 170, 80), (80, 90, 104))
WALLS: tuple[Colour, ...] = ((206, 222, 232), (232, 220, 204), (212, 228, 210), (226, 212, 228), (236, 230, 200), (196, 206, 216))
IRISES: tuple[Colour, ...] = ((84, 56, 40), (70, 110, 150), (80, 120, 80), (110, 110, 110))
STYLES: tuple[HairStyle, ...] = ("cap", "parted", "long", "curly", "bun")

SUBPIXEL_BITS = 4
HEAD_HALF_WIDTH = 0.30
HEAD_CENTRE_Y = 0.53
HEAD_OVER_HEIGHT = 0.95
EYE_Y = 0.0
MIN_BROW_CONTRAST = 160
DARKEST: Colour = (22, 17, 16)
BLINK_S = 0.16
ONSET_S = 0.25


@dataclass(frozen=True)
class FaceLook:
    """A speaker's own face, which no emotion changes."""

    skin: Colour
    hair: Colour
    shirt: Colour
    wall: Colour
    iris: Colour
    style: HairStyle
    head_height: float
    jaw: float
    eye_distance: float
    eye_size: float
    brow_thickness: float
    brow_height: float
    mouth_width: float
    mouth_y: float
    nose_length: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "FaceLook":
        """A random speaker."""
        return cls(
            skin=_shade(SKINS[rng.integers(len(SKINS))], rng),
            hair=_shade(HAIRS[rng.integers(len(HAIRS))], rng),
            shirt=_shade(SHIRTS[rng.integers(len(SHIRTS))], rng),
            wall=_shade(WALLS[rng.integers(len(WALLS))], rng),
            iris=IRISES[rng.integers(len(IRISES))],
            style=STYLES[rng.integers(len(STYLES))],
            head_height=rng.uniform(1.22, 1.30),
            jaw=rng.uniform(0.74, 0.90),
            eye_distance=rng.uniform(0.42, 0.45),
            eye_size=rng.uniform(0.17, 0.20),
            brow_thickness=rng.uniform(0.085, 0.11),
            brow_height=rng.uniform(0.32, 0.35),
            mouth_width=rng.uniform(0.36, 0.40),
            mouth_y=rng.uniform(0.67, 0.70),
            nose_length=rng.uniform(0.20, 0.28),
        )


@dataclass(frozen=True)
class FacePose:
    """One frame: the expression at this moment, the head's place and turn, the lids and the lips."""

    expression: FaceExpression
    shift_x: float
    shift_y: float
    turn_deg: float
    lid: float
    speech: float


def pose_frames(expression: FaceExpression, num_frames: int, frame_rate_hz: float, rng: np.random.Generator) -> list[FacePose]:
    """A clip's poses: the head moves as the expression does, lids blink, lips speak at a pace of their own.

    The lips do not follow the sound: it shows another draw of the expression, which the face must not betray.
    """
    times_s = np.arange(num_frames) / frame_rate_hz
    home_x, home_y = rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02)
    phases = rng.uniform(0.0, 2.0 * np.pi, 4)
    lip_hz = rng.uniform(3.2, 4.6)
    blink_s = rng.uniform(0.3, 1.5) + np.arange(0.0, times_s[-1] + 2.0, 1.7)
    poses = []
    for time_s in times_s:
        onset = 0.6 + 0.4 * min(time_s / ONSET_S, 1.0)
        nod = expression.nod * np.sin(2 * np.pi * expression.nod_hz * time_s + phases[0])
        shake = expression.shake * np.sin(2 * np.pi * expression.shake_hz * time_s + phases[1])
        sway = 0.008 * np.sin(2 * np.pi * 0.3 * time_s + phases[2])
        syllable = 0.5 - 0.5 * np.cos(2 * np.pi * lip_hz * time_s + phases[3])
        blink = float(np.min(np.abs(blink_s - time_s))) < BLINK_S / 2
        poses.append(
            FacePose(
                expression=expression,
                shift_x=home_x + shake + sway,
                shift_y=home_y + nod + expression.drop * onset,
                turn_deg=expression.tilt_deg * onset + 40.0 * shake,
                lid=0.12 if blink else 1.0,
                speech=float(syllable),
            )
        )
    return poses


def draw_clip(look: FaceLook, poses: list[FacePose], size: int) -> ByteArray:
    """Draw all frames: uint8 (N, size, size, 3), RGB."""
    scene = _draw_scene(look, size)
    return np.stack([draw_face(look, pose, scene) for pose in poses])


def draw_face(look: FaceLook, pose: FacePose, scene: ByteArray) -> ByteArray:
    """Draw the head of one frame into a copy of the scene: uint8 (H, W, 3)."""
    canvas = _Canvas(scene.copy(), pose)
    _draw_hair_behind(canvas, look)
    _draw_head(canvas, look)
    _draw_eyes(canvas, look, pose)
    _draw_nose(canvas, look)
    _draw_mouth(canvas, look, pose)
    _draw_hair_above(canvas, look)
    _draw_brows(canvas, look, pose)
    return canvas.image


class _Canvas:
    """A picture on which outlines are given in the head's own coordinates."""

    def __init__(self, image: ByteArray, pose: FacePose) -> None:
        self.image = image
        size = image.shape[0]
        self.unit = HEAD_HALF_WIDTH * size
        angle = np.deg2rad(pose.turn_deg)
        self.rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self.centre = np.array([size * 0.5 + pose.shift_x * self.unit, size * HEAD_CENTRE_Y + pose.shift_y * self.unit])

    def fill(self, points_P2: Points, colour: Colour) -> None:
        """Fill an outline, antialiased, to a sixteenth of a pixel."""
        pixels_P2 = (points_P2 @ self.rotation) * self.unit + self.centre
        fixed_P2 = np.round(pixels_P2 * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(self.image, [fixed_P2], colour, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_scene(look: FaceLook, size: int) -> ByteArray:
    """The wall and the shoulders, which stand still."""
    light_HW = np.linspace(1.06, 0.86, size)[:, None] * np.linspace(0.97, 1.03, size)[None, :]
    scene = np.clip(light_HW[..., None] * np.array(look.wall, dtype=np.float64), 0, 255).astype(np.uint8)
    still = _Canvas(scene, FacePose(_REST, 0.0, 0.0, 0.0, 1.0, 0.0))
    still.fill(_ellipse(0.0, 2.15, 1.45, 0.98), look.shirt)
    still.fill(_ellipse(0.0, 1.30, 0.46, 0.30), _darker(look.skin, 0.86))
    still.fill(np.array([[-0.40, 0.6], [0.40, 0.6], [0.44, 1.3], [-0.44, 1.3]]), _darker(look.skin, 0.86))
    return scene


def _draw_hair_behind(canvas: _Canvas, look: FaceLook) -> None:
    dark = _darker(look.hair, 0.82)
    if look.style == "long":
        canvas.fill(_superellipse(0.0, 0.10, 1.18, 1.36, 2.6), dark)
    elif look.style == "curly":
        for angle in np.linspace(-0.15 * np.pi, 1.15 * np.pi, 11):
            canvas.fill(_ellipse(0.86 * np.cos(angle), -0.36 - 0.84 * np.sin(angle), 0.30, 0.30, 16), dark)
    elif look.style == "bun":
        canvas.fill(_ellipse(0.0, -look.head_height - 0.16, 0.36, 0.32), dark)


def _draw_head(canvas: _Canvas, look: FaceLook) -> None:
    for side in (-1.0, 1.0):
        canvas.fill(_ellipse(side * 0.99, 0.05, 0.15, 0.24), _darker(look.skin, 0.92))
    canvas.fill(_head_outline(look), look.skin)
    for side in (-1.0, 1.0):
        canvas.fill(_ellipse(side * 0.58, 0.42, 0.20, 0.13), _blend(look.skin, (236, 120, 110), 0.22))


def _head_outline(look: FaceLook) -> Points:
    angle_P = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False)
    x_P, y_P = np.cos(angle_P), np.sin(angle_P)
    narrow_P = 1.0 - (1.0 - look.jaw) * np.clip(y_P, 0.0, 1.0) ** 1.5
    return np.stack([x_P * narrow_P, y_P * look.head_height * HEAD_OVER_HEIGHT], axis=1)


def _draw_eyes(canvas: _Canvas, look: FaceLook, pose: FacePose) -> None:
    shown = pose.expression
    half_width = look.eye_size
    half_height = look.eye_size * 0.80 * max(shown.eye_open * pose.lid, 0.10)
    for side in (-1.0, 1.0):
        x, y = side * look.eye_distance, EYE_Y
        if pose.lid < 0.5:
            canvas.fill(_stroke(np.array([[x - half_width, y], [x, y + 0.05], [x + half_width, y]]), 0.05), _darker(look.skin, 0.45))
            continue
        canvas.fill(_ellipse(x, y - 0.015, half_width + 0.035, half_height + 0.04), _darker(look.skin, 0.50))
        canvas.fill(_ellipse(x, y, half_width, half_height), (250, 250, 248))
        iris = min(look.eye_size * 0.62, half_height * 0.95)
        gaze_x = x + shown.gaze_x * (half_width - iris) * 0.8
        gaze_y = y - shown.gaze_y * max(half_height - iris, 0.02) * 0.8
        canvas.fill(_ellipse(gaze_x, gaze_y, iris, iris), look.iris)
        canvas.fill(_ellipse(gaze_x, gaze_y, iris * 0.55, iris * 0.55, 16), (18, 16, 16))
        canvas.fill(_ellipse(gaze_x - iris * 0.3, gaze_y - iris * 0.35, iris * 0.26, iris * 0.26, 10), (255, 255, 255))


def _draw_brows(canvas: _Canvas, look: FaceLook, pose: FacePose) -> None:
    shown = pose.expression
    colour = _darker(look.hair, 0.55)
    if sum(look.skin) - sum(colour) < MIN_BROW_CONTRAST:
        colour = DARKEST
    for side in (-1.0, 1.0):
        inner = (side * (look.eye_distance - 0.23), -look.brow_height - shown.brow_inner)
        outer = (side * (look.eye_distance + 0.24), -look.brow_height - shown.brow_outer)
        middle = ((inner[0] + outer[0]) / 2, (inner[1] + outer[1]) / 2 - 0.04 - shown.brow_arch)
        canvas.fill(_stroke(_bend(np.array([inner, middle, outer])), look.brow_thickness, taper=0.55), colour)


def _draw_nose(canvas: _Canvas, look: FaceLook) -> None:
    tip_y = 0.14 + look.nose_length
    line = _bend(np.array([[0.03, 0.10], [0.10, tip_y - 0.04], [-0.06, tip_y]]))
    canvas.fill(_stroke(line, 0.045), _darker(look.skin, 0.74))


def _draw_mouth(canvas: _Canvas, look: FaceLook, pose: FacePose) -> None:
    shown = pose.expression
    half_width = look.mouth_width * shown.mouth_width
    gap = max(shown.mouth_open, 0.0) * (0.8 + 0.2 * pose.speech) + 0.04 * pose.speech
    at_P = np.linspace(-1.0, 1.0, 25)
    x_P = at_P * half_width
    # Corners up when the curve is positive, around the same middle height.
    line_P = look.mouth_y - shown.mouth_curve * (at_P**2 - 0.4) + shown.mouth_wave * np.sin(at_P * 1.5 * np.pi)
    bow_P = np.sqrt(np.clip(1.0 - at_P**2, 0.0, 1.0))
    lip = _blend(look.skin, (176, 58, 66), 0.62)
    outer = _between(x_P * 1.08, line_P - 0.055 - 0.4 * gap * bow_P, line_P + 0.065 + 0.8 * gap * bow_P)
    canvas.fill(outer, lip)
    top_P, bottom_P = line_P - 0.4 * gap * bow_P, line_P + 0.8 * gap * bow_P
    canvas.fill(_between(x_P, top_P - 0.012, bottom_P + 0.012), (74, 22, 28))
    if gap > 0.07:
        canvas.fill(_between(x_P * 0.86, top_P, top_P + 0.32 * gap * bow_P), (246, 244, 238))
    if gap > 0.20:
        canvas.fill(_between(x_P * 0.6, bottom_P - 0.35 * gap * bow_P, bottom_P), (206, 96, 100))


def _draw_hair_above(canvas: _Canvas, look: FaceLook) -> None:
    top = 1.10 * HEAD_OVER_HEIGHT * look.head_height
    temple_y = -0.34
    low = np.arcsin(-temple_y / top)
    angle_P = np.linspace(np.pi + low, 2.0 * np.pi - low, 30)
    crown = np.stack([1.07 * np.cos(angle_P), top * np.sin(angle_P)], axis=1)
    part = {"cap": 0.0, "parted": 0.5, "long": -0.4, "curly": 0.0, "bun": 0.15}[look.style]
    at_P = np.linspace(1.0, -1.0, 25)
    fringe_y_P = temple_y - 0.54 * (1.0 - np.abs(at_P - part * (1.0 - at_P**2)) ** 2.4)
    if look.style == "curly":
        fringe_y_P = fringe_y_P + 0.04 * np.cos(at_P * 16.0)
    fringe = np.stack([at_P * crown[-1, 0], fringe_y_P], axis=1)
    canvas.fill(np.concatenate([crown, fringe]), look.hair)


def _ellipse(x: float, y: float, half_width: float, half_height: float, num_points: int = 28) -> Points:
    angle_P = np.linspace(0.0, 2.0 * np.pi, num_points, endpoint=False)
    return np.stack([x + half_width * np.cos(angle_P), y + half_height * np.sin(angle_P)], axis=1)


def _superellipse(x: float, y: float, half_width: float, half_height: float, power: float) -> Points:
    angle_P = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    cosine_P, sine_P = np.cos(angle_P), np.sin(angle_P)
    x_P = x + half_width * np.sign(cosine_P) * np.abs(cosine_P) ** (2.0 / power)
    y_P = y + half_height * np.sign(sine_P) * np.abs(sine_P) ** (2.0 / power)
    return np.stack([x_P, y_P], axis=1)


def _bend(corners_3_2: Points, num_points: int = 12) -> Points:
    """The smooth curve through three points."""
    at_P = np.linspace(0.0, 1.0, num_points)[:, None]
    first, middle, last = corners_3_2
    handle = 2.0 * middle - 0.5 * (first + last)
    return np.asarray((1 - at_P) ** 2 * first + 2 * at_P * (1 - at_P) * handle + at_P**2 * last)


def _stroke(line_P2: Points, thickness: float, taper: float = 0.0) -> Points:
    """The outline of a line, `taper` thinner at its end."""
    along_P2 = np.gradient(line_P2, axis=0)
    along_P2 /= np.linalg.norm(along_P2, axis=1, keepdims=True)
    across_P2 = np.stack([-along_P2[:, 1], along_P2[:, 0]], axis=1)
    half_P1 = 0.5 * thickness * (1.0 - taper * np.linspace(0.0, 1.0, len(line_P2)) ** 2)[:, None]
    return np.concatenate([line_P2 + across_P2 * half_P1, (line_P2 - across_P2 * half_P1)[::-1]])


def _between(x_P: npt.NDArray[np.float64], top_P: npt.NDArray[np.float64], bottom_P: npt.NDArray[np.float64]) -> Points:
    """The area between two curves over the same x."""
    return np.concatenate([np.stack([x_P, top_P], axis=1), np.stack([x_P, bottom_P], axis=1)[::-1]])


def _darker(colour: Colour, factor: float) -> Colour:
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def _blend(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (int((1.0 - share) * one + share * two) for one, two in zip(colour, other, strict=True))
    return (red, green, blue)


def _shade(colour: Colour, rng: np.random.Generator) -> Colour:
    """The same colour in another light."""
    factor = rng.uniform(0.92, 1.06)
    red, green, blue = (int(np.clip(part * factor + rng.uniform(-5, 5), 0, 255)) for part in colour)
    return (red, green, blue)


_REST = FaceExpression(*(0.0 for _ in range(16)))
