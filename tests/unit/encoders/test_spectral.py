import numpy as np
import pytest
from scipy.signal import chirp

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders._spectral_pitch import track_pitch
from mer_ray.encoders._spectral_prosody import MIN_VOICED_FRAMES, describe_intonation, describe_rhythm
from mer_ray.encoders.spectral import SpectralConfig, SpectralEncoder

SAMPLE_RATE_HZ = 16_000


@pytest.fixture(scope="module")
def encoder() -> SpectralEncoder:
    return SpectralConfig().build("cpu")


def voice(seconds: float, start_hz: float, end_hz: float, syllables_hz: float = 4.0) -> FloatArray:
    """Harmonics of a pitch that moves from start to end, in syllables with near silences between them."""
    noise = 1e-4 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE_HZ))
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * np.cumsum(start_hz + (end_hz - start_hz) * times_s / seconds) / SAMPLE_RATE_HZ
    tone = sum(np.sin(number * phase) / number for number in range(1, 20))
    sounding = np.clip(4 * np.sin(np.pi * syllables_hz * times_s) ** 2 - 1, 0, 1)
    return (0.1 * sounding * tone + noise).astype(np.float32)


def rhythm_of(samples_S: FloatArray) -> FloatArray:
    return describe_rhythm(track_pitch(samples_S), level_of(samples_S))


def intonation_of(samples_S: FloatArray) -> FloatArray:
    return describe_intonation(track_pitch(samples_S), level_of(samples_S))


def level_of(samples_S: FloatArray) -> FloatArray:
    config = SpectralConfig(sequences=("energy",))
    return config.build("cpu").encode([Audio(samples_S, SAMPLE_RATE_HZ)])[0].sequences["energy"][:, 0]


def test_too_short_a_sound_says_the_minimum(encoder: SpectralEncoder) -> None:
    with pytest.raises(EncoderError, match=r"has 399 samples; at least 400 \(25 ms at 16 kHz\)"):
        encoder.encode([Audio(np.zeros(399, dtype=np.float32), SAMPLE_RATE_HZ)])


def test_frames_are_counted_in_steps_of_ten_milliseconds(encoder: SpectralEncoder) -> None:
    features = encoder.encode([Audio(np.zeros(16_000, dtype=np.float32), SAMPLE_RATE_HZ)])[0]
    assert (features.num_frames, features.frame_s) == (98, 0.01)


def test_the_pitch_layer_holds_octaves_above_100_hz(encoder: SpectralEncoder) -> None:
    features = encoder.encode([Audio(voice(1.0, 200, 200), SAMPLE_RATE_HZ)])[0]
    assert features.mean["pitch"][0] == pytest.approx(1.0, abs=0.03)
    assert 0.5 < features.mean["pitch"][1] < 0.95


def test_only_energy_and_level_change_with_gain(encoder: SpectralEncoder) -> None:
    samples = voice(1.0, 150, 180)
    quiet, loud = encoder.encode([Audio(samples, SAMPLE_RATE_HZ), Audio(np.float32(2) * samples, SAMPLE_RATE_HZ)])
    assert loud.mean["voiced_logmel"] - quiet.mean["voiced_logmel"] == pytest.approx(np.full(40, np.log(4)), abs=0.05)
    assert loud.mean["pitch"] == pytest.approx(quiet.mean["pitch"], abs=0.01)
    assert loud.mean["intonation"] == pytest.approx(quiet.mean["intonation"], abs=0.05)


def test_voiced_layers_leave_pauses_out(encoder: SpectralEncoder) -> None:
    speech = voice(1.0, 150, 180)
    pause = 1e-3 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    alone, paused = encoder.encode([Audio(speech, SAMPLE_RATE_HZ), Audio(np.concatenate([speech, pause]), SAMPLE_RATE_HZ)])
    assert np.abs(paused.mean["voiced_logmel"] - alone.mean["voiced_logmel"]).max() < 0.5
    assert np.abs(paused.mean["logmel"] - alone.mean["logmel"]).max() > 1


def test_without_voice_the_voiced_layers_take_all_frames(encoder: SpectralEncoder) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    features = encoder.encode([Audio(noise, SAMPLE_RATE_HZ)])[0]
    is_voiced = track_pitch(noise).voiced_T.sum() >= MIN_VOICED_FRAMES
    assert np.array_equal(features.mean["voiced_logmel"], features.mean["logmel"]) != is_voiced
    silence = encoder.encode([Audio(np.zeros(8000, dtype=np.float32), SAMPLE_RATE_HZ)])[0]
    assert np.array_equal(silence.mean["voiced_logmel"], silence.mean["logmel"])
    assert not silence.mean["intonation"].any()


def test_intonation_tells_level_range_and_direction() -> None:
    low, high, rising, falling = (intonation_of(voice(1.5, *ends)) for ends in ((120, 120), (240, 240), (150, 300), (300, 150)))
    median, full_range, slope = 2, 6, 9
    assert high[median] - low[median] == pytest.approx(1.0, abs=0.05)
    assert low[full_range] < 0.1
    assert rising[full_range] == pytest.approx(0.9, abs=0.15)
    assert rising[slope] == pytest.approx(1 / 1.5, abs=0.1)
    assert falling[slope] == pytest.approx(-1 / 1.5, abs=0.1)


def test_rhythm_tells_the_rate_of_syllables_and_the_duration() -> None:
    slow, fast = rhythm_of(voice(3.0, 150, 150, 2.5)), rhythm_of(voice(3.0, 150, 150, 5.0))
    mean_voiced_s, runs_per_s, log_duration, peaks_per_s = 0, 5, 7, 8
    assert fast[runs_per_s] == pytest.approx(5.0, abs=0.5)
    assert slow[runs_per_s] == pytest.approx(2.5, abs=0.5)
    assert fast[mean_voiced_s] < slow[mean_voiced_s]
    assert fast[peaks_per_s] == pytest.approx(5.0, abs=0.5)
    assert slow[peaks_per_s] == pytest.approx(2.5, abs=0.5)
    assert slow[log_duration] == pytest.approx(np.log(3.0), abs=0.01)


def test_a_sweep_moves_the_spectral_layers_and_not_the_length(encoder: SpectralEncoder) -> None:
    times_s = np.arange(16_000) / SAMPLE_RATE_HZ
    low = chirp(times_s, 200, 1, 800).astype(np.float32)
    high = chirp(times_s, 2000, 1, 5000).astype(np.float32)
    first, second = encoder.encode([Audio(low, SAMPLE_RATE_HZ), Audio(high, SAMPLE_RATE_HZ)])
    assert second.mean["spectral_shape"][0] > first.mean["spectral_shape"][0] + 1
    assert first.num_frames == second.num_frames
