"""Sound -> what each 25 ms frame holds: spectra, cepstra, energies, shape, formants, modulation.

Shapes: S samples, T frames (one every 10 ms), F frequencies, M mel bands, K cepstra, P prediction order, W windows.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch
import torchaudio

from mer_ray.core.media_types import FloatArray

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
HOP_S = HOP_SAMPLES / SAMPLE_RATE_HZ
NUM_MELS = 40
NUM_CEPSTRA = 20
FFT_SAMPLES = 512
FREQUENCIES_F = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1, dtype=np.float32)

# Power of a frame of digital silence: far below any recording's noise, so that speech decides the logarithms.
POWER_FLOOR = np.float32(1e-6)
BANDS_HZ = ((0, 500), (500, 1000), (1000, 2000), (2000, 4000), (4000, 8000))
ROLLOFFS = (0.5, 0.85, 0.95)
NUM_ENERGIES = 2 * (1 + len(BANDS_HZ))
NUM_SHAPES = 9 + len(ROLLOFFS)
NUM_FORMANTS = 3
MODULATION_BANDS = 8
MODULATION_FRAMES = 64
MODULATION_HOP = 16
# Bins of 1 / 0.64 s = 1.56 Hz: syllables lie at 3 to 8 Hz, tremor and roughness above.
MODULATION_EDGES = (1, 2, 3, 4, 6, 9, 13, 20)
NUM_MODULATIONS = MODULATION_BANDS * (len(MODULATION_EDGES) - 1)
PREDICTION_ORDER = 12
PRE_EMPHASIS = np.float32(0.97)


def split_frames(samples_S: FloatArray, frame_samples: int = FRAME_SAMPLES) -> FloatArray:
    """Overlapping frames (T, frame_samples), a read-only view: T = 1 + (S - frame_samples) // 160."""
    return np.lib.stride_tricks.sliding_window_view(samples_S, frame_samples)[::HOP_SAMPLES]


def power_spectrum(samples_S: FloatArray) -> FloatArray:
    """Power (T, F) of Hamming-windowed frames."""
    window = np.hamming(FRAME_SAMPLES).astype(np.float32)
    return transform_power(split_frames(samples_S) * window, FFT_SAMPLES)


def transform_power(windows: FloatArray, num_samples: int) -> FloatArray:
    """Squared magnitude of the Fourier transform of rows padded to `num_samples`; scipy's is three times as fast as NumPy's here."""
    spectrum = scipy.fft.rfft(windows, num_samples)
    power: FloatArray = spectrum.real**2 + spectrum.imag**2
    return power


def log_mel(power_TF: FloatArray) -> FloatArray:
    """Natural logarithm of the power in mel bands, (T, M)."""
    logmel_TM: FloatArray = np.log(power_TF @ _mel_filters() + POWER_FLOOR)
    return logmel_TM


def cepstra(logmel_TM: FloatArray) -> FloatArray:
    """Orthonormal cosine transform of the log-mel spectrum (MFCC), (T, K)."""
    return logmel_TM @ _cosines()


def change(values_TD: FloatArray) -> FloatArray:
    """Regression slope over five frames, per frame (the usual delta); edges repeat."""
    deltas_DT: FloatArray = torchaudio.functional.compute_deltas(torch.from_numpy(np.ascontiguousarray(values_TD.T)), 5).numpy()
    return deltas_DT.T


def energies(power_TF: FloatArray) -> FloatArray:
    """Log power in all and in five bands, and their change: (T, 12)."""
    levels_TD = np.stack([np.log(power_TF.sum(axis=1) + POWER_FLOOR), *(_band_level(power_TF, *band) for band in BANDS_HZ)], axis=1)
    return np.concatenate([levels_TD, change(levels_TD)], axis=1)


def spectral_shape(power_TF: FloatArray) -> FloatArray:
    """Twelve numbers of each frame's spectrum, kHz where they are frequencies: (T, 12).

    Centroid, bandwidth, skewness, roll-offs at 50, 85 and 95 %, log flatness, alpha ratio (1-5 kHz over 0.05-1 kHz),
    Hammarberg index (strongest peak below over above 2 kHz), slopes of 0-0.5 and 0.5-1.5 kHz, flux: the set of
    eGeMAPS (Eyben et al., 2016) where it has them, our choice for the rest.
    """
    magnitude_TF = np.sqrt(power_TF) + np.float32(1e-7)
    share_TF = magnitude_TF / magnitude_TF.sum(axis=1, keepdims=True)
    log_power_TF = np.log(power_TF + POWER_FLOOR)
    # Moments about zero cancel when a frame is close to a pure tone: float64 and a floor of 1 Hz.
    centroid_T, square_T, cube_T = (share_TF.astype(np.float64) @ np.vander(FREQUENCIES_F / 1000.0, 4)[:, 2::-1]).T
    bandwidth_T = np.sqrt(np.maximum(square_T - centroid_T**2, 1e-6))
    skewness_T = (cube_T - 3 * centroid_T * square_T + 2 * centroid_T**3) / bandwidth_T**3
    cumulated_TF = np.cumsum(share_TF, axis=1)
    rolloffs = [(cumulated_TF < part).sum(axis=1) * (FREQUENCIES_F[1] / 1000) for part in ROLLOFFS]
    flatness_T = np.log(magnitude_TF).mean(axis=1) - np.log(magnitude_TF.mean(axis=1))
    alpha_T = _band_level(power_TF, 1000, 5000) - _band_level(power_TF, 50, 1000)
    hammarberg_T = log_power_TF[:, _between(0, 2000)].max(axis=1) - log_power_TF[:, _between(2000, 5000)].max(axis=1)
    flux_T = 10 * np.sqrt((np.diff(share_TF, axis=0, prepend=share_TF[:1]) ** 2).sum(axis=1))
    columns = [
        *(centroid_T, bandwidth_T, skewness_T, *rolloffs, flatness_T, alpha_T, hammarberg_T),
        *(_slope(log_power_TF, 0, 500), _slope(log_power_TF, 500, 1500), flux_T),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def spectral_contrast(power_TF: FloatArray) -> FloatArray:
    """Log power of peaks (95th percentile) over valleys (10th) in five bands: (T, 5)."""
    log_power_TF = np.log(power_TF + POWER_FLOOR)
    columns = []
    for low_hz, high_hz in BANDS_HZ:
        sorted_TF = np.sort(log_power_TF[:, _between(low_hz, high_hz)], axis=1)
        last = sorted_TF.shape[1] - 1
        columns.append(sorted_TF[:, round(0.95 * last)] - sorted_TF[:, round(0.1 * last)])
    return np.stack(columns, axis=1)


def formants(samples_S: FloatArray) -> FloatArray:
    """The three lowest peaks above 200 Hz of the linear-prediction envelope, in kHz: (T, 3); 4.5 kHz where there is none."""
    emphasised_S = np.append(samples_S[:1], samples_S[1:] - PRE_EMPHASIS * samples_S[:-1])
    power_TF = power_spectrum(emphasised_S)
    correlation_TP: npt.NDArray[np.float64] = scipy.fft.irfft(power_TF)[:, : PREDICTION_ORDER + 1].astype(np.float64)
    correlation_TP[:, 0] = correlation_TP[:, 0] * (1 + 1e-5) + 1e-9
    # The envelope is 1 / |filter|^2: the same peaks.
    envelope_TF = -transform_power(_predict_linearly(correlation_TP).astype(np.float32), FFT_SAMPLES // 2)
    frequencies_F = FREQUENCIES_F[::2][1:-1]
    is_peak_TF = (envelope_TF[:, 1:-1] > envelope_TF[:, :-2]) & (envelope_TF[:, 1:-1] >= envelope_TF[:, 2:])
    is_peak_TF &= (frequencies_F > 200) & (frequencies_F < 4500)
    peaks_TF: FloatArray = np.where(is_peak_TF, frequencies_F, np.float32(4500))
    return np.sort(peaks_TF, axis=1)[:, :NUM_FORMANTS] / np.float32(1000)


def _predict_linearly(correlation_TP: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Levinson-Durbin on all frames at once: prediction error filters (T, P + 1), first coefficient 1."""
    num_frames, num_lags = correlation_TP.shape
    filters_TP = np.zeros((num_frames, num_lags))
    filters_TP[:, 0] = 1
    error_T = correlation_TP[:, 0].copy()
    for order in range(1, num_lags):
        reflection_T = -(filters_TP[:, :order] * correlation_TP[:, order:0:-1]).sum(axis=1) / error_T
        filters_TP[:, 1 : order + 1] += reflection_T[:, None] * filters_TP[:, order - 1 :: -1][:, :order]
        error_T *= 1 - reflection_T**2
    return filters_TP


def modulation(logmel_TM: FloatArray) -> FloatArray:
    """How fast the bands move: log spectrum of eight mel bands' course over 0.64 s, every 0.16 s; (W, 56).

    A clip shorter than a window is lengthened by its last frame.
    """
    bands_TB = logmel_TM.reshape(len(logmel_TM), MODULATION_BANDS, -1).mean(axis=2)
    lacking = max(0, MODULATION_FRAMES - len(bands_TB))
    bands_TB = np.pad(bands_TB, ((0, lacking), (0, 0)), mode="edge")
    windows_WBT = np.lib.stride_tricks.sliding_window_view(bands_TB, MODULATION_FRAMES, axis=0)[::MODULATION_HOP]
    taper_T = np.hanning(MODULATION_FRAMES).astype(np.float32)
    spectra_WBF = transform_power((windows_WBT - windows_WBT.mean(axis=-1, keepdims=True)) * taper_T, MODULATION_FRAMES)
    levels = [np.log(spectra_WBF[..., low:high].mean(axis=-1) + 1e-3) for low, high in pairwise(MODULATION_EDGES)]
    return np.stack(levels, axis=-1, dtype=np.float32).reshape(len(windows_WBT), -1)


def _band_level(power_TF: FloatArray, low_hz: float, high_hz: float) -> FloatArray:
    level_T: FloatArray = np.log(power_TF[:, _between(low_hz, high_hz)].sum(axis=1) + POWER_FLOOR)
    return level_T


def _slope(log_power_TF: FloatArray, low_hz: float, high_hz: float) -> FloatArray:
    """Least-squares slope of the log power, per kHz."""
    band = _between(low_hz, high_hz)
    offset_F = (FREQUENCIES_F[band] - FREQUENCIES_F[band].mean()) / 1000
    slope_T: FloatArray = log_power_TF[:, band] @ (offset_F / (offset_F @ offset_F))
    return slope_T


def _between(low_hz: float, high_hz: float) -> slice:
    return slice(*np.searchsorted(FREQUENCIES_F, (low_hz, high_hz)))


@cache
def _mel_filters() -> FloatArray:
    filters: FloatArray = torchaudio.functional.melscale_fbanks(len(FREQUENCIES_F), 50.0, 8000.0, NUM_MELS, SAMPLE_RATE_HZ).numpy()
    return filters


@cache
def _cosines() -> FloatArray:
    cosines: FloatArray = torchaudio.functional.create_dct(NUM_CEPSTRA, NUM_MELS, norm="ortho").numpy()
    return cosines
