import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders.sound_quality import FLOOR_DB, SNR_BOUNDS_DB, SoundQualityConfig

SAMPLE_RATE_HZ = 16_000


def speech(seconds: float = 3.0, seed: int = 0) -> FloatArray:
    """Syllables of harmonics with unequal loudness and gaps between them, as speech has."""
    random = np.random.default_rng(seed)
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * np.cumsum(140 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * times_s))) / SAMPLE_RATE_HZ
    tone = sum(np.sin(number * phase) / number for number in range(1, 20))
    syllable_S = (4 * times_s).astype(int)
    loudness = random.uniform(0.2, 1.0, syllable_S.max() + 1)[syllable_S]
    return (0.1 * loudness * np.clip(2 * np.sin(np.pi * 4 * times_s) ** 2 - 0.6, 0, 1) * tone).astype(np.float32)


def add_noise(samples_S: FloatArray, snr_db: float, colour: float = 0.0, seed: int = 1) -> FloatArray:
    """White noise, or with `colour` low-passed, at a power of `snr_db` below the sound's mean power."""
    noise_S = np.random.default_rng(seed).standard_normal(len(samples_S))
    noise_S = noise_S + colour * np.concatenate([[0.0], noise_S[:-1]])
    gain = np.sqrt(np.square(samples_S).mean() / np.square(noise_S).mean() / 10 ** (snr_db / 10))
    return (samples_S + gain * noise_S).astype(np.float32)


def measure(*sounds: FloatArray) -> list[dict[str, float]]:
    found = SoundQualityConfig().build("cpu").encode([Audio(samples_S, SAMPLE_RATE_HZ) for samples_S in sounds])
    return [{layer: float(vector_D[0]) for layer, vector_D in features.mean.items()} for features in found]


@pytest.mark.parametrize("colour", [0.0, 0.9])
@pytest.mark.parametrize("seconds", [1.5, 4.0])
def test_noise_at_a_known_ratio_is_found(seconds: float, colour: float) -> None:
    wanted = np.array([0, 5, 10, 15, 20, 30])
    clean_S = speech(seconds)
    found = np.array([one["snr_db"] for one in measure(*(add_noise(clean_S, snr_db, colour) for snr_db in wanted))])
    assert (np.diff(found) > 2.5).all()
    assert np.abs(found - wanted).max() < 2.5


def test_the_ratio_does_not_depend_on_gain_or_offset() -> None:
    noisy_S = add_noise(speech(), 12)
    plain, quiet, lifted = measure(noisy_S, noisy_S / 8, noisy_S + np.float32(0.2))
    assert quiet["snr_db"] == pytest.approx(plain["snr_db"], abs=1e-3)
    assert lifted["snr_db"] == pytest.approx(plain["snr_db"], abs=1e-2)
    assert quiet["level_db"] == pytest.approx(plain["level_db"] - 20 * np.log10(8), abs=1e-3)


def test_clean_and_silent_sounds_stay_within_the_bounds() -> None:
    clean, silent, steady = measure(speech(), np.zeros(8000, np.float32), np.ones(8000, np.float32))
    assert clean["snr_db"] == SNR_BOUNDS_DB[1]
    assert (silent["snr_db"], silent["level_db"], silent["silence_share"]) == (SNR_BOUNDS_DB[0], FLOOR_DB, 1.0)
    assert (steady["level_db"], steady["clipped_share"]) == (FLOOR_DB, 1.0)


def test_levels_are_of_full_scale() -> None:
    sine_S = np.sin(2 * np.pi * 1000 * np.arange(16_000) / SAMPLE_RATE_HZ).astype(np.float32)
    (half,) = measure(sine_S / 2)
    assert half["level_db"] == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.01)
    assert (half["clipped_share"], half["silence_share"]) == (0, 0)


def test_clipped_samples_are_counted() -> None:
    samples_S = np.zeros(10_000, np.float32)
    samples_S[:250], samples_S[250:500], samples_S[500:750] = 1.0, -1.0, 0.5
    assert measure(samples_S)[0]["clipped_share"] == pytest.approx(0.05)


def test_pauses_are_silent() -> None:
    sine_S = 0.3 * np.sin(2 * np.pi * 200 * np.arange(24_000) / SAMPLE_RATE_HZ)
    hiss_S = 1e-3 * np.random.default_rng(0).standard_normal(8_000)
    (paused,) = measure(np.concatenate([sine_S, hiss_S]).astype(np.float32))
    assert paused["silence_share"] == pytest.approx(0.25, abs=0.02)


def test_too_short_a_sound_says_the_minimum() -> None:
    with pytest.raises(EncoderError, match=r"has 399 samples; at least 400 \(25 ms at 16 kHz\)"):
        measure(np.zeros(399, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [5, 10, 15, 20])
def test_noise_over_real_speech_is_found(shared_data: Path, snr_db: float) -> None:
    clean = [read_wav(path) for path in sorted((shared_data / "emodb/wav").glob("*.wav"))[::6]]
    found_N = np.array([one["snr_db"] for one in measure(*(add_noise(samples_S, snr_db) for samples_S in clean))])
    assert found_N.mean() == pytest.approx(snr_db, abs=0.6)
    assert found_N.std() < 1


def read_wav(path: Path) -> FloatArray:
    with wave.open(str(path)) as opened:
        samples_S = np.frombuffer(opened.readframes(opened.getnframes()), "<i2") / 32768
        return resample(torch.tensor(samples_S, dtype=torch.float32), opened.getframerate(), SAMPLE_RATE_HZ).numpy()
