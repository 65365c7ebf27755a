import numpy as np
import pytest

from mer_ray.core.media_types import FloatArray
from mer_ray.encoders import _spectral_pitch
from mer_ray.encoders._spectral_pitch import track_pitch

SAMPLE_RATE_HZ = 16_000


def harmonic_tone(pitch_hz: float | FloatArray, seconds: float = 1.0) -> FloatArray:
    """Ten harmonics, the first not the strongest, as in speech."""
    pitch = np.broadcast_to(np.asarray(pitch_hz, dtype=float), round(seconds * SAMPLE_RATE_HZ))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE_HZ
    strengths = [0.4, 1.0, 0.8, 0.5, 0.3, 0.2, 0.2, 0.1, 0.1, 0.05]
    tone: FloatArray = sum(strength * np.sin(number * phase) for number, strength in enumerate(strengths, 1)).astype(np.float32)
    return 0.1 * tone


@pytest.mark.parametrize("pitch_hz", [75, 110, 220, 330, 450])
def test_the_pitch_of_a_harmonic_tone_is_found_within_two_percent(pitch_hz: float) -> None:
    track = track_pitch(harmonic_tone(pitch_hz))
    assert track.voiced_T.mean() > 0.95
    found_hz = 100 * 2 ** track.octaves_T[5:-5]
    assert np.abs(found_hz / pitch_hz - 1).max() < 0.02
    assert track.strength_T[5:-5].min() > 0.85


def test_a_glide_is_followed_without_octave_jumps() -> None:
    course_hz = np.geomspace(120, 320, SAMPLE_RATE_HZ)
    track = track_pitch(harmonic_tone(course_hz))
    found = track.octaves_T[5:-5]
    expected = np.log2(course_hz[200::160][: len(track.octaves_T)] / 100)[5:-5]
    assert np.abs(found - expected).max() < 0.03


def test_noise_and_silence_are_not_voiced() -> None:
    rng = np.random.default_rng(0)
    assert track_pitch(rng.standard_normal(16_000).astype(np.float32) * 0.1).voiced_T.mean() < 0.1
    silence = track_pitch(np.zeros(16_000, dtype=np.float32))
    assert not silence.voiced_T.any()
    assert (silence.octaves_T == 0).all()


def test_pitch_is_interpolated_over_gaps_between_voices() -> None:
    samples = np.concatenate([harmonic_tone(100, 0.4), np.zeros(3200, dtype=np.float32), harmonic_tone(200, 0.4)])
    track = track_pitch(samples)
    gap = slice(45, 55)
    assert not track.voiced_T[gap].any()
    assert 0.1 < track.octaves_T[gap].mean() < 0.9
    assert track.octaves_T[20] == pytest.approx(0, abs=0.03)
    assert track.octaves_T[80] == pytest.approx(1, abs=0.03)


def test_noise_lowers_the_strength() -> None:
    tone = harmonic_tone(150)
    noisy = tone + 0.05 * np.random.default_rng(0).standard_normal(len(tone)).astype(np.float32)
    assert track_pitch(noisy).strength_T.mean() < track_pitch(tone).strength_T.mean() - 0.02


def test_one_frame_is_enough() -> None:
    track = track_pitch(harmonic_tone(200)[:400])
    assert len(track.octaves_T) == len(track.voiced_T) == len(track.strength_T) == 1


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = harmonic_tone(np.geomspace(120, 320, SAMPLE_RATE_HZ))
    whole = track_pitch(samples)
    monkeypatch.setattr(_spectral_pitch, "BLOCK_FRAMES", 7)
    parts = track_pitch(samples)
    assert np.array_equal(parts.voiced_T, whole.voiced_T)
    assert np.allclose(parts.octaves_T, whole.octaves_T, atol=1e-6)
