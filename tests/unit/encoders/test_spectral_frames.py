import numpy as np
import pytest
import scipy.linalg
import torch
import torchaudio

from mer_ray.core.media_types import FloatArray
from mer_ray.encoders import _spectral_frames as frames_of

SAMPLE_RATE_HZ = 16_000
TIMES_S = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
RNG = np.random.default_rng(0)
NOISE: FloatArray = 0.1 * RNG.standard_normal(SAMPLE_RATE_HZ).astype(np.float32)


def sine(frequency_hz: float, level: float = 0.3) -> FloatArray:
    return (level * np.sin(2 * np.pi * frequency_hz * TIMES_S)).astype(np.float32)


def shape_of(samples_S: FloatArray) -> dict[str, float]:
    rolloffs = ["rolloff_50", "rolloff_85", "rolloff_95"]
    names = ["centroid", "bandwidth", "skewness", *rolloffs, "flatness", "alpha", "hammarberg", "slope_low", "slope_high", "flux"]
    return dict(zip(names, frames_of.spectral_shape(frames_of.power_spectrum(samples_S)).mean(axis=0), strict=True))


def test_log_mel_and_cepstra_are_those_of_torchaudio() -> None:
    mfcc = torchaudio.transforms.MFCC(
        SAMPLE_RATE_HZ,
        n_mfcc=frames_of.NUM_CEPSTRA,
        log_mels=True,
        melkwargs={"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 40, "f_min": 50.0, "center": False},
    )
    mfcc.MelSpectrogram.spectrogram.window = torch.from_numpy(np.pad(np.hamming(400), (0, 112)).astype(np.float32))
    mfcc.MelSpectrogram.spectrogram.win_length = 512
    expected = mfcc(torch.from_numpy(NOISE)).numpy().T
    found = frames_of.cepstra(frames_of.log_mel(frames_of.power_spectrum(NOISE)))
    assert len(found) - len(expected) in (0, 1)
    assert np.abs(found[: len(expected)] - expected).max() < 1e-2


def test_frames_start_every_ten_milliseconds() -> None:
    assert frames_of.split_frames(np.arange(400)).shape == (1, 400)
    assert frames_of.split_frames(np.arange(559)).shape == (1, 400)
    assert frames_of.split_frames(np.arange(560))[1, 0] == 160


def test_energy_follows_gain() -> None:
    quiet, loud = (frames_of.energies(frames_of.power_spectrum(gain * NOISE)) for gain in (np.float32(1), np.float32(2)))
    levels = slice(0, 6)
    assert np.allclose((loud - quiet)[:, levels], np.log(4), atol=1e-3)
    assert np.allclose(loud[:, 6:], quiet[:, 6:], atol=1e-3)


def test_a_tone_raises_only_its_band() -> None:
    levels = frames_of.energies(frames_of.power_spectrum(sine(1500))).mean(axis=0)
    assert levels[1:6].argmax() == 2


def test_change_is_the_slope_of_a_ramp() -> None:
    ramp_TD = np.stack([np.arange(20), -2 * np.arange(20)], axis=1).astype(np.float32)
    assert np.allclose(frames_of.change(ramp_TD)[2:-2], [1, -2])
    assert np.allclose(frames_of.change(np.ones((1, 3), dtype=np.float32)), 0)


@pytest.mark.parametrize("frequency_hz", [500, 2000, 6000])
def test_centroid_and_rolloffs_of_a_tone_are_its_frequency(frequency_hz: float) -> None:
    shape = shape_of(sine(frequency_hz))
    for name in ("centroid", "rolloff_50", "rolloff_85"):
        assert shape[name] == pytest.approx(frequency_hz / 1000, rel=0.1), name
    assert shape["bandwidth"] < shape_of(NOISE)["bandwidth"]
    assert shape["flatness"] < shape_of(NOISE)["flatness"] - 2


def test_centroid_bandwidth_and_skewness_are_moments() -> None:
    power_TF = frames_of.power_spectrum(NOISE)
    share_TF = np.sqrt(power_TF.astype(np.float64)) + 1e-7
    share_TF /= share_TF.sum(axis=1, keepdims=True)
    khz_F = frames_of.FREQUENCIES_F.astype(np.float64) / 1000
    centroid_T = share_TF @ khz_F
    bandwidth_T = np.sqrt((share_TF * (khz_F - centroid_T[:, None]) ** 2).sum(axis=1))
    skewness_T = (share_TF * (khz_F - centroid_T[:, None]) ** 3).sum(axis=1) / bandwidth_T**3
    found = frames_of.spectral_shape(power_TF)
    assert np.allclose(found[:, :3], np.stack([centroid_T, bandwidth_T, skewness_T], axis=1), rtol=1e-3, atol=1e-3)


def test_a_darker_sound_has_lower_alpha_and_slopes_and_a_higher_hammarberg_index() -> None:
    dark = shape_of(np.cumsum(NOISE - NOISE.mean()).astype(np.float32) / 20)
    bright = shape_of(NOISE)
    assert dark["alpha"] < bright["alpha"] - 1
    assert dark["slope_high"] < bright["slope_high"] - 0.5
    assert dark["hammarberg"] > bright["hammarberg"] + 1


def test_flux_is_zero_for_what_repeats_and_not_for_noise() -> None:
    assert shape_of(sine(1000))["flux"] < 1e-3
    assert shape_of(NOISE)["flux"] > 0.1


def test_contrast_is_high_for_tones_and_low_for_noise() -> None:
    tone = frames_of.spectral_contrast(frames_of.power_spectrum(sine(1500))).mean(axis=0)
    noise = frames_of.spectral_contrast(frames_of.power_spectrum(NOISE)).mean(axis=0)
    assert tone[2] > noise[2] + 3


def test_formants_are_the_resonances_of_a_pulse_train() -> None:
    samples = np.zeros(SAMPLE_RATE_HZ)
    samples[::133] = 1.0
    for centre_hz in (700, 1200, 2600):
        radius, angle = np.exp(-np.pi * 80 / SAMPLE_RATE_HZ), 2 * np.pi * centre_hz / SAMPLE_RATE_HZ
        filtered = np.zeros_like(samples)
        for index in range(len(samples)):
            filtered[index] = samples[index] + 2 * radius * np.cos(angle) * filtered[index - 1] - radius**2 * filtered[index - 2]
        samples = filtered
    found_khz = np.median(frames_of.formants((samples / np.abs(samples).max()).astype(np.float32)), axis=0)
    assert found_khz == pytest.approx([0.7, 1.2, 2.6], abs=0.13)


def test_linear_prediction_solves_the_normal_equations() -> None:
    correlation_TP = np.stack([np.correlate(part, part, "full")[399:412] for part in NOISE[:4000].astype(np.float64).reshape(10, 400)])
    found = frames_of._predict_linearly(correlation_TP)
    for filter_P, correlation_P in zip(found, correlation_TP, strict=True):
        expected = scipy.linalg.solve_toeplitz(correlation_P[:-1], -correlation_P[1:])
        assert filter_P[0] == 1
        assert np.allclose(filter_P[1:], expected)


@pytest.mark.parametrize(("syllables_hz", "band"), [(3.2, 1), (8.0, 3), (14.0, 5)])
def test_modulation_shows_the_rate_of_syllables(syllables_hz: float, band: int) -> None:
    loudness = 1.05 + np.sin(2 * np.pi * syllables_hz * np.arange(32_000) / SAMPLE_RATE_HZ)
    noise = 0.1 * np.random.default_rng(1).standard_normal(32_000)
    logmel_TM = frames_of.log_mel(frames_of.power_spectrum((loudness * noise).astype(np.float32)))
    found = frames_of.modulation(logmel_TM)
    assert found.shape == ((len(logmel_TM) - 64) // 16 + 1, frames_of.NUM_MODULATIONS)
    assert found.mean(axis=0).reshape(8, 7).mean(axis=0).argmax() == band
