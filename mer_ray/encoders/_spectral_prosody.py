"""The course of pitch and loudness -> numbers of a whole clip: intonation and rhythm. Our choice, after eGeMAPS (Eyben et al., 2016).

Shapes: T frames (one every 10 ms), V voiced frames, R runs.
"""

import numpy as np

from mer_ray.core.media_types import BoolArray, FloatArray
from mer_ray.encoders._spectral_frames import HOP_S, change
from mer_ray.encoders._spectral_pitch import PitchTrack

NUM_INTONATIONS = 27
NUM_RHYTHMS = 24
MIN_VOICED_FRAMES = 3
NUM_PARTS = 4
# A syllable is a peak of the loudness with dips of 2 dB around it, at most 25 dB below the loudest: de Jong and Wempe (2009).
SMOOTHING_FRAMES = 9
SYLLABLE_DIP = 2 / 10 * np.log(10)
SYLLABLE_RANGE = 25 / 10 * np.log(10)


def describe_intonation(track: PitchTrack, level_T: FloatArray) -> FloatArray:
    """Level, range, slope, changes and course of the pitch in octaves, and of the loudness with it: (27,); zeros without voice."""
    voiced_T = track.voiced_T
    if voiced_T.sum() < MIN_VOICED_FRAMES:
        return np.zeros(NUM_INTONATIONS, dtype=np.float32)
    octaves_V, level_V = track.octaves_T[voiced_T], level_T[voiced_T]
    percentiles = np.percentile(octaves_V, [5, 20, 50, 80, 95])
    slope = np.polyfit(np.flatnonzero(voiced_T) * HOP_S, octaves_V, 1)[0]
    changes_V = change(track.octaves_T[:, None])[voiced_T, 0]
    steps = _steps_inside_runs(track.octaves_T, voiced_T)
    wobble = np.abs(np.diff(steps)) if len(steps) > 1 else np.zeros(1)
    values = [
        *percentiles,
        *(percentiles[3] - percentiles[1], percentiles[4] - percentiles[0], octaves_V.mean(), octaves_V.std(), slope),
        *(10 * np.percentile(changes_V, [5, 25, 75, 95])),
        *(10 * np.median(np.abs(steps)), 10 * np.median(wobble), 10 * wobble.mean(), (steps > 0).mean()),
        _correlation(octaves_V, level_V),
        *_course(octaves_V),
        *_course(level_V),
    ]
    return np.array(values, dtype=np.float32)


def describe_rhythm(track: PitchTrack, level_T: FloatArray) -> FloatArray:
    """Lengths of voiced runs and gaps, syllable-like peaks a second, spread and steps of the loudness, duration: (24,)."""
    edges = np.flatnonzero(np.diff(track.voiced_T.astype(np.int8), prepend=0, append=0))
    voiced_R = np.diff(edges)[::2] * HOP_S if len(edges) else np.zeros(1)
    gaps_R = np.diff(edges)[1::2] * HOP_S if len(edges) > 2 else np.zeros(1)
    duration_s = len(level_T) * HOP_S
    relative_T = level_T - np.percentile(level_T, 95)
    taper = np.hanning(SMOOTHING_FRAMES + 2)
    smooth_T = np.convolve(np.pad(relative_T, SMOOTHING_FRAMES // 2 + 1, mode="edge"), taper / taper.sum(), mode="valid")
    # scipy.signal loads all of scipy.stats, and every worker loads this module.
    from scipy.signal import find_peaks

    syllables, _ = find_peaks(smooth_T, height=-SYLLABLE_RANGE, prominence=SYLLABLE_DIP)
    # Without voice the loudness of all frames stands in, so that a whisper is still described.
    speech_T = track.voiced_T if track.voiced_T.sum() >= MIN_VOICED_FRAMES else np.ones_like(track.voiced_T)
    steps = _steps_inside_runs(level_T, speech_T)
    changes_V = change(level_T[:, None])[speech_T, 0]
    values = [
        *(voiced_R.mean(), voiced_R.std(), voiced_R.max(), gaps_R.mean(), gaps_R.std(), len(voiced_R) / duration_s),
        *(track.voiced_T.mean(), np.log(duration_s), len(syllables) / duration_s),
        *np.percentile(relative_T, [5, 20, 50, 80]),
        (relative_T < -5).mean(),
        *(np.abs(steps).mean(), np.abs(np.diff(steps)).mean() if len(steps) > 1 else 0.0),
        *np.percentile(changes_V, [5, 25, 75, 95]),
        *np.percentile(level_T[speech_T] - level_T[speech_T].max(), [5, 20, 50, 80]),
    ]
    return np.array(values, dtype=np.float32)


def _steps_inside_runs(values_T: FloatArray, inside_T: BoolArray) -> FloatArray:
    """Differences of neighbours that both lie inside; one zero where there are none."""
    steps = np.diff(values_T)[inside_T[1:] & inside_T[:-1]]
    return steps if len(steps) else np.zeros(1, dtype=np.float32)


def _course(values_V: FloatArray) -> FloatArray:
    """How far each quarter's mean lies from the mean of all; (4,)."""
    quarters = np.minimum(np.arange(len(values_V)) * NUM_PARTS // len(values_V), NUM_PARTS - 1)
    sums = np.bincount(quarters, weights=values_V - values_V.mean(), minlength=NUM_PARTS)
    return (sums / np.maximum(np.bincount(quarters, minlength=NUM_PARTS), 1)).astype(np.float32)


def _correlation(first_V: FloatArray, second_V: FloatArray) -> float:
    deviation = float(first_V.std() * second_V.std())
    return float(((first_V - first_V.mean()) * (second_V - second_V.mean())).mean()) / deviation if deviation > 1e-6 else 0.0
