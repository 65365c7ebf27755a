"""Sound -> the course of its pitch: normalised autocorrelation and the cheapest path through its peaks.

The method of Boersma (1993), "Accurate short-term analysis of the fundamental frequency", with its costs. Shapes: S samples,
T frames (one every 10 ms), L lags, K candidates of a frame.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from mer_ray.core.media_types import BoolArray, FloatArray
from mer_ray.encoders._spectral_frames import FRAME_SAMPLES, HOP_SAMPLES, SAMPLE_RATE_HZ, split_frames, transform_power

LOWEST_HZ, HIGHEST_HZ = 60, 500
WINDOW_SAMPLES = 640
# Window and longest lag (268 samples) together fit: the circular correlation does not wrap around.
FFT_SAMPLES = 1024
# Half lags, by band-limited interpolation: between whole ones the peak of a high voice is lower than those of its octaves below.
LAGS_PER_SAMPLE = 2
LAG_RATE_HZ = SAMPLE_RATE_HZ * LAGS_PER_SAMPLE
# Frames per block: the autocorrelation of a ten-minute clip at once would take a gigabyte.
BLOCK_FRAMES = 2000
NUM_CANDIDATES = 6
OCTAVE_COST = 0.02
JUMP_COST = 0.35
VOICING_COST = 0.14
UNVOICED_STRENGTH = 0.45
SILENCE_BONUS = 0.5


@dataclass(frozen=True)
class PitchTrack:
    """Per frame: `octaves_T` above 100 Hz (interpolated where unvoiced, 0 without any voice), `voiced_T`, `strength_T` in [0, 1)."""

    octaves_T: FloatArray
    voiced_T: BoolArray
    strength_T: FloatArray


def track_pitch(samples_S: FloatArray) -> PitchTrack:
    """The pitch of every 25 ms frame; S must hold at least one frame."""
    margin = (WINDOW_SAMPLES - FRAME_SAMPLES) // 2
    windows = split_frames(np.pad(samples_S, margin), WINDOW_SAMPLES)[: 1 + (len(samples_S) - FRAME_SAMPLES) // HOP_SAMPLES]
    blocks = [_find_candidates(windows[start : start + BLOCK_FRAMES]) for start in range(0, len(windows), BLOCK_FRAMES)]
    octaves_TK, strength_TK, level_T = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    choice_T = _cheapest_path(octaves_TK, strength_TK, level_T)
    voiced_T = choice_T < NUM_CANDIDATES
    rows_T = np.arange(len(choice_T))
    picked_T = np.where(voiced_T, choice_T, strength_TK.argmax(axis=1))
    octaves_T = octaves_TK[rows_T, picked_T]
    octaves_T = np.interp(rows_T, rows_T[voiced_T], octaves_T[voiced_T]) if voiced_T.any() else np.zeros(len(rows_T))
    return PitchTrack(octaves_T.astype(np.float32), voiced_T, np.clip(strength_TK[rows_T, picked_T], 0, 0.999).astype(np.float32))


def _find_candidates(windows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The highest peaks of the autocorrelation: octaves above 100 Hz (T, K), strengths (T, K, -1 = no peak), log power (T,)."""
    taper = np.hanning(WINDOW_SAMPLES).astype(np.float32)
    shortest, longest = LAG_RATE_HZ // HIGHEST_HZ, LAG_RATE_HZ // LOWEST_HZ
    correlation_TL = _autocorrelate((windows - windows.mean(axis=1, keepdims=True)) * taper)[:, : longest + 2]
    power_T = correlation_TL[:, 0].copy()
    taper_L = _autocorrelate(taper[None])[0, : longest + 2]
    correlation_TL /= (power_T[:, None] + np.float32(1e-10)) * (taper_L / taper_L[0])
    lags_L = np.arange(shortest, longest + 1)
    here_TL, before_TL, after_TL = (correlation_TL[:, shortest + shift : longest + 1 + shift] for shift in (0, -1, 1))
    is_peak_TL = (here_TL > before_TL) & (here_TL >= after_TL) & (here_TL > 0)
    score_TL = np.where(is_peak_TL, here_TL - (OCTAVE_COST * np.log2(lags_L / shortest)).astype(np.float32), np.float32(-1))
    best_TK = np.argpartition(-score_TL, NUM_CANDIDATES, axis=1)[:, :NUM_CANDIDATES]
    before_TK, here_TK, after_TK, score_TK = (
        np.take_along_axis(array, best_TK, axis=1) for array in (before_TL, here_TL, after_TL, score_TL)
    )
    # The vertex of the parabola through a peak and its neighbours, in parts of a lag.
    shift_TK = np.clip(0.5 * (before_TK - after_TK) / np.minimum(before_TK - 2 * here_TK + after_TK, -1e-9), -0.5, 0.5)
    octaves_TK = np.log2(LAG_RATE_HZ / (best_TK + shortest + shift_TK) / 100)
    return octaves_TK, score_TK, np.log(power_T + 1e-6)


def _autocorrelate(windows: FloatArray) -> FloatArray:
    """The autocorrelation of rows at `LAG_RATE_HZ`."""
    correlation: FloatArray = scipy.fft.irfft(transform_power(windows, FFT_SAMPLES), FFT_SAMPLES * LAGS_PER_SAMPLE)
    return correlation


def _cheapest_path(octaves_TK: FloatArray, strength_TK: FloatArray, level_T: FloatArray) -> npt.NDArray[np.intp]:
    """Viterbi over the candidates and, as number K, "unvoiced": the choice of each frame (T,)."""
    num_frames, num_candidates = octaves_TK.shape
    # Frames a good deal below the loudest (6 to 12 in natural logarithm, 26 to 52 dB) count as silence.
    quiet_T = np.clip((level_T.max() - level_T - 6) / 6, 0, 1)
    local_TK = np.column_stack([np.where(strength_TK > -1, -strength_TK, 5.0), -(UNVOICED_STRENGTH + SILENCE_BONUS * quiet_T)])
    moves_TKK = np.full((num_frames - 1, num_candidates + 1, num_candidates + 1), VOICING_COST)
    moves_TKK[:, :-1, :-1] = JUMP_COST * np.abs(octaves_TK[:-1, :, None] - octaves_TK[1:, None, :])
    moves_TKK[:, -1, -1] = 0
    origins_TK = np.empty((num_frames - 1, num_candidates + 1), dtype=np.intp)
    cost_K = local_TK[0]
    for frame in range(num_frames - 1):
        totals_KK = cost_K[:, None] + moves_TKK[frame]
        origins_TK[frame] = totals_KK.argmin(axis=0)
        cost_K = totals_KK.min(axis=0) + local_TK[frame + 1]
    choice_T = np.empty(num_frames, dtype=np.intp)
    choice_T[-1] = cost_K.argmin()
    for frame in range(num_frames - 2, -1, -1):
        choice_T[frame] = origins_TK[frame, choice_T[frame + 1]]
    return choice_T
