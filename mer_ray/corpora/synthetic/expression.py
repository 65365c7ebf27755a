"""How each class looks and sounds when shown clearly; the numbers are ours, the directions are textbook.

Lengths are in half head widths, angles in degrees, pitch in semitones, levels in decibels.
"""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from mer_ray.corpora.synthetic.config import CLASSES


@dataclass(frozen=True)
class FaceExpression:
    """A face: heights are up-positive offsets from rest, `motion` names a head movement by its amplitudes and rates."""

    brow_inner: float
    brow_outer: float
    brow_arch: float
    eye_open: float
    gaze_x: float
    gaze_y: float
    mouth_curve: float
    mouth_open: float
    mouth_width: float
    mouth_wave: float
    tilt_deg: float
    drop: float
    nod: float
    nod_hz: float
    shake: float
    shake_hz: float


@dataclass(frozen=True)
class VoiceExpression:
    """A voice against its speaker's own: pitch and its movement, level, tempo, brightness, breath and tremor."""

    pitch_st: float
    range_st: float
    slope_st: float
    level_db: float
    syllables_hz: float
    tilt_db_per_octave: float
    breath: float
    tremor_st: float
    attack_s: float


FACES: dict[str, FaceExpression] = {
    "neutral": FaceExpression(
        0.0, 0.0, 0.05, 1.0, 0.0, 0.0,
        mouth_curve=0.0, mouth_open=0.03, mouth_width=1.0, mouth_wave=0.0,
        tilt_deg=0.0, drop=0.0, nod=0.004, nod_hz=0.4, shake=0.004, shake_hz=0.3,
    ),
    "angry": FaceExpression(
        -0.20, 0.10, 0.0, 0.78, 0.0, -0.1,
        mouth_curve=-0.15, mouth_open=0.10, mouth_width=0.95, mouth_wave=0.0,
        tilt_deg=0.0, drop=0.05, nod=0.005, nod_hz=1.0, shake=0.035, shake_hz=2.6,
    ),
    "happy": FaceExpression(
        0.05, 0.06, 0.10, 0.70, 0.0, 0.1,
        mouth_curve=0.30, mouth_open=0.14, mouth_width=1.35, mouth_wave=0.0,
        tilt_deg=3.0, drop=-0.03, nod=0.035, nod_hz=1.8, shake=0.008, shake_hz=0.9,
    ),
    "sad": FaceExpression(
        0.17, -0.13, 0.0, 0.55, 0.0, -0.8,
        mouth_curve=-0.22, mouth_open=0.02, mouth_width=0.90, mouth_wave=0.0,
        tilt_deg=-6.0, drop=0.10, nod=0.012, nod_hz=0.35, shake=0.012, shake_hz=0.25,
    ),
    "worried": FaceExpression(
        0.20, 0.02, -0.02, 1.12, 0.6, 0.2,
        mouth_curve=-0.03, mouth_open=0.03, mouth_width=1.05, mouth_wave=0.06,
        tilt_deg=5.0, drop=0.02, nod=0.004, nod_hz=1.2, shake=0.010, shake_hz=4.5,
    ),
    "surprise": FaceExpression(
        0.20, 0.18, 0.12, 1.45, 0.0, 0.0,
        mouth_curve=0.0, mouth_open=0.42, mouth_width=0.58, mouth_wave=0.0,
        tilt_deg=0.0, drop=-0.07, nod=0.015, nod_hz=0.7, shake=0.004, shake_hz=0.5,
    ),
}  # fmt: skip

VOICES: dict[str, VoiceExpression] = {
    "neutral": VoiceExpression(
        0.0, range_st=2.0, slope_st=-1.5, level_db=0.0, syllables_hz=4.0,
        tilt_db_per_octave=9.0, breath=0.03, tremor_st=0.0, attack_s=0.035,
    ),
    "angry": VoiceExpression(
        3.0, range_st=4.5, slope_st=-3.0, level_db=6.0, syllables_hz=5.2,
        tilt_db_per_octave=4.0, breath=0.02, tremor_st=0.0, attack_s=0.012,
    ),
    "happy": VoiceExpression(
        5.0, range_st=8.0, slope_st=0.0, level_db=3.0, syllables_hz=4.8,
        tilt_db_per_octave=7.0, breath=0.03, tremor_st=0.0, attack_s=0.030,
    ),
    "sad": VoiceExpression(
        -3.0, range_st=1.2, slope_st=-3.0, level_db=-6.0, syllables_hz=2.5,
        tilt_db_per_octave=13.0, breath=0.15, tremor_st=0.0, attack_s=0.090,
    ),
    "worried": VoiceExpression(
        2.0, range_st=2.5, slope_st=1.0, level_db=-3.0, syllables_hz=5.6,
        tilt_db_per_octave=10.0, breath=0.09, tremor_st=1.0, attack_s=0.040,
    ),
    "surprise": VoiceExpression(
        7.0, range_st=5.0, slope_st=9.0, level_db=2.0, syllables_hz=3.0,
        tilt_db_per_octave=8.0, breath=0.08, tremor_st=0.0, attack_s=0.025,
    ),
}  # fmt: skip

Expression = TypeVar("Expression", FaceExpression, VoiceExpression)

FACE_JITTER = 0.08
VOICE_JITTER = 0.08
# What one deviation of valence beyond the class adds: the corners of the mouth, the level of the pitch.
MOUTH_CURVE_PER_VALENCE = 0.025
PITCH_ST_PER_VALENCE = 0.4
MAX_VALENCE_OFFSET = 2.5


def show_face(expression: int, valence_offset: float, rng: np.random.Generator) -> FaceExpression:
    """One clip's rendering of class number `expression`: its prototype, a little off in every number."""
    shown = _jitter(FACES[CLASSES[expression]], list(FACES.values()), FACE_JITTER, rng)
    curve = shown.mouth_curve + MOUTH_CURVE_PER_VALENCE * _clip_offset(valence_offset)
    return replace(
        shown,
        mouth_curve=curve,
        mouth_open=max(shown.mouth_open, 0.0),
    )


def show_voice(expression: int, valence_offset: float, rng: np.random.Generator) -> VoiceExpression:
    """One clip's rendering of class number `expression`: its prototype, a little off in every number."""
    shown = _jitter(VOICES[CLASSES[expression]], list(VOICES.values()), VOICE_JITTER, rng)
    return replace(
        shown,
        pitch_st=shown.pitch_st + PITCH_ST_PER_VALENCE * _clip_offset(valence_offset),
        breath=max(shown.breath, 0.0),
        tremor_st=max(shown.tremor_st, 0.0),
        attack_s=max(shown.attack_s, 0.008),
    )


def _jitter(prototype: Expression, prototypes: list[Expression], share: float, rng: np.random.Generator) -> Expression:
    """Move every number by `share` of its deviation over the prototypes: small against the steps between them."""
    moved = {}
    for field in fields(prototype):
        spread = float(np.std([getattr(other, field.name) for other in prototypes]))
        moved[field.name] = getattr(prototype, field.name) + share * spread * float(rng.standard_normal())
    return replace(prototype, **moved)


def _clip_offset(valence_offset: float) -> float:
    return float(np.clip(valence_offset, -MAX_VALENCE_OFFSET, MAX_VALENCE_OFFSET))
