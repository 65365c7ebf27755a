"""A voice-like sound: harmonics of a pitch contour through moving formants, in syllables, with breath.

Shapes: T samples, F control frames of 5 ms, H harmonics, S syllables.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import FloatArray
from mer_ray.corpora.synthetic.expression import VoiceExpression

RealArray = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
CONTROL_RATE_HZ = 200
TOP_HZ = 5_500.0
# Peterson & Barney (1952), men's averages: F1, F2, F3 of /a i u e o/.
VOWELS_HZ = ((730.0, 1090.0, 2440.0), (270.0, 2290.0, 3010.0), (300.0, 870.0, 2240.0), (530.0, 1840.0, 2480.0), (570.0, 840.0, 2410.0))
FORMANT_GAINS = (1.0, 0.55, 0.30)
BANDWIDTHS_HZ = (90.0, 120.0, 180.0)
BASE_LEVEL_RMS = 0.055
TREMOR_HZ = 6.5
ROOM_NOISE = 0.0008


@dataclass(frozen=True)
class VoiceLook:
    """A speaker's own voice, which no emotion changes: pitch at rest, length of the vocal tract, level."""

    pitch_hz: float
    tract: float
    level_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "VoiceLook":
        """A random speaker; a higher pitch comes with a shorter tract, as in people."""
        height = rng.uniform(0.0, 1.0)
        return cls(
            pitch_hz=float(95.0 * 2.0 ** (1.15 * height) * 2.0 ** rng.normal(0.0, 0.05)),
            tract=float(0.96 + 0.2 * height + rng.normal(0.0, 0.02)),
            level_db=float(rng.normal(0.0, 1.0)),
        )


@dataclass(frozen=True)
class _Control:
    """The contours that make the sound, a value per control frame: (F,) and formants (F, 3)."""

    pitch_hz_F: RealArray
    loudness_F: RealArray
    formants_hz_F3: RealArray


def speak(look: VoiceLook, expression: VoiceExpression, duration_s: float, rng: np.random.Generator) -> FloatArray:
    """Speak nonsense syllables: float32 (T,) in [-1, 1] at `SAMPLE_RATE_HZ`."""
    num_samples = round(duration_s * SAMPLE_RATE_HZ)
    control = _draw_control(look, expression, duration_s, rng)
    voiced_T = _sing(control, expression.tilt_db_per_octave, num_samples)
    loudness_T = _stretch(control.loudness_F[:, None], num_samples)[:, 0]
    breath_T = _breathe(num_samples, rng) * loudness_T
    voiced_T = voiced_T / _level(voiced_T) + expression.breath * breath_T / _level(breath_T)
    level = BASE_LEVEL_RMS * 10.0 ** ((look.level_db + expression.level_db) / 20.0)
    sound_T = voiced_T / _level(voiced_T) * level + ROOM_NOISE * rng.standard_normal(num_samples)
    # A soft limit: rare peaks bend instead of wrapping.
    return np.asarray(np.tanh(sound_T), dtype=np.float32)


def _draw_control(look: VoiceLook, expression: VoiceExpression, duration_s: float, rng: np.random.Generator) -> _Control:
    num_frames = round(duration_s * CONTROL_RATE_HZ)
    times_s_F = np.arange(num_frames) / CONTROL_RATE_HZ
    start_s, end_s = rng.uniform(0.08, 0.2), duration_s - rng.uniform(0.1, 0.25)
    step_s = 1.0 / expression.syllables_hz
    onsets_s_S = np.arange(start_s, end_s - 0.5 * step_s, step_s)
    onsets_s_S = onsets_s_S + rng.normal(0.0, 0.08 * step_s, len(onsets_s_S))
    accents_S = rng.uniform(-1.0, 1.0, len(onsets_s_S))
    strengths_S = rng.uniform(0.75, 1.0, len(onsets_s_S))
    vowels_S = rng.integers(0, len(VOWELS_HZ), len(onsets_s_S))

    loudness_F = np.zeros(num_frames)
    accent_F = np.zeros(num_frames)
    for onset_s, accent, strength in zip(onsets_s_S, accents_S, strengths_S, strict=True):
        since_F = times_s_F - onset_s
        rise_F = 0.5 + 0.5 * np.tanh(since_F / expression.attack_s - 1.5)
        fall_F = 0.5 - 0.5 * np.tanh((since_F - 0.72 * step_s) / 0.04)
        loudness_F = np.maximum(loudness_F, strength * rise_F * fall_F)
        accent_F += accent * np.exp(-0.5 * ((since_F - 0.35 * step_s) / (0.3 * step_s)) ** 2)

    phrase_F = np.clip((times_s_F - start_s) / max(end_s - start_s, 0.1), 0.0, 1.0)
    tremor_F = np.sin(2.0 * np.pi * TREMOR_HZ * times_s_F + rng.uniform(0.0, 2.0 * np.pi))
    semitones_F = (
        expression.pitch_st
        + expression.slope_st * (phrase_F - 0.5)
        + 0.5 * expression.range_st * accent_F
        + expression.tremor_st * tremor_F
        + 0.15 * rng.standard_normal(num_frames)
    )
    nearest_F = np.clip(np.searchsorted(onsets_s_S, times_s_F) - 1, 0, len(onsets_s_S) - 1)
    formants_hz_F3 = look.tract * np.array(VOWELS_HZ)[vowels_S][nearest_F]
    return _Control(
        pitch_hz_F=look.pitch_hz * 2.0 ** (semitones_F / 12.0),
        loudness_F=loudness_F * (1.0 + 0.25 * (expression.tremor_st > 0.3) * tremor_F),
        formants_hz_F3=np.asarray(cv2.GaussianBlur(formants_hz_F3, (1, 15), 0.0, borderType=cv2.BORDER_REPLICATE), dtype=np.float64),
    )


def _sing(control: _Control, tilt_db_per_octave: float, num_samples: int) -> FloatArray:
    """Harmonics of the pitch, each as loud as tilt and formants make its frequency: (T,)."""
    num_harmonics = int(TOP_HZ / control.pitch_hz_F.min())
    numbers_H = np.arange(1, num_harmonics + 1)
    frequency_FH = control.pitch_hz_F[:, None] * numbers_H
    gain_FH = np.zeros_like(frequency_FH)
    for formant, gain in enumerate(FORMANT_GAINS):
        distance_FH = (frequency_FH - control.formants_hz_F3[:, formant, None]) / BANDWIDTHS_HZ[formant]
        gain_FH += gain / (1.0 + distance_FH**2)
    source_FH = 10.0 ** (-tilt_db_per_octave * np.log2(numbers_H) / 20.0)
    amplitude_FH = (0.03 + gain_FH) * source_FH * control.loudness_F[:, None] * (frequency_FH < TOP_HZ)
    amplitude_TH = _stretch(amplitude_FH, num_samples)
    pitch_hz_T = _stretch(control.pitch_hz_F[:, None], num_samples)[:, 0].astype(np.float64)
    # Whole turns are dropped in double precision, so that single precision is enough for the sines.
    phase_T = (2.0 * np.pi * np.mod(np.cumsum(pitch_hz_T) / SAMPLE_RATE_HZ, 1.0)).astype(np.float32)
    sound_T = np.einsum("th,th->t", amplitude_TH, np.sin(phase_T[:, None] * numbers_H.astype(np.float32)))
    return np.asarray(sound_T, dtype=np.float32)


def _breathe(num_samples: int, rng: np.random.Generator) -> FloatArray:
    """Noise with the hiss of breath: most of it from 1 to 6 kHz: (T,)."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency_hz = np.fft.rfftfreq(num_samples, 1.0 / SAMPLE_RATE_HZ)
    return np.fft.irfft(spectrum * np.exp(-(((frequency_hz - 3000.0) / 2200.0) ** 2)), num_samples).astype(np.float32)


def _stretch(control_FK: RealArray, num_samples: int) -> FloatArray:
    """Control frames to samples, linear between them: (T, K)."""
    num_columns = control_FK.shape[1]
    stretched = cv2.resize(control_FK.astype(np.float32), (num_columns, num_samples), interpolation=cv2.INTER_LINEAR)
    return np.asarray(stretched, dtype=np.float32).reshape(num_samples, num_columns)


def _level(sound_T: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(sound_T, dtype=np.float64)))) + 1e-9
