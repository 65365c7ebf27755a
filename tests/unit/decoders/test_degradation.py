"""Noise at exactly the ratio, blur as OpenCV's, everything from the clip's id alone.

Shapes: T samples.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from media_factory import moving_noise, noise, tone, write_media

from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError, MediaError
from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames, TextFormat
from mer_ray.decoders.babble import make_babble
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.degradation import snr_of
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.noise_folder import check_noise_folder, take_noise
from mer_ray.decoders.pieces import decode_pieces

CLEAR = AudioFormat(16000)
SEEN = FrameFormat(48, rate_hz=5.0)


def noisy(rate_hz: int = 16000, noise: str = "speech_like", snr_db: object = 5.0, seed: int = 0) -> AudioFormat:
    return AudioFormat(rate_hz, DegradationConfig.model_validate({"noise": noise, "snr_db": snr_db, "seed": seed}))


def blurred(sigma: float, wanted: FrameFormat = SEEN) -> FrameFormat:
    return FrameFormat(wanted.size, wanted.num_frames, wanted.rate_hz, wanted.crop, wanted.faces, DegradationConfig(blur=sigma))


def decode(clip: Clip, *formats: AudioFormat | FrameFormat | TextFormat) -> list:
    found = decode_clip(clip, formats, MediaLimits())
    return [found[wanted] for wanted in formats]


def measured_snr_db(clear: Audio, heard: Audio) -> float:
    added_T = heard.samples.astype(np.float64) - clear.samples
    return float(10 * np.log10(clear.samples.var(dtype=np.float64) / added_T.var()))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of other rates and lengths, one of them shorter than any clip."""
    folder = tmp_path_factory.mktemp("noise")
    write_media(folder / "a.wav", sound=noise(0.2, 8000, seed=1), rate_hz=8000, audio_codec="pcm_s16le")
    write_media(folder / "b.wav", sound=noise(3.0, 44100, seed=2), rate_hz=44100, audio_codec="pcm_s16le")
    write_media(folder / "c.flac", sound=tone(5.0, 16000, 700.0), rate_hz=16000, audio_codec="flac")
    return folder


@pytest.fixture(scope="module")
def speech(shared_data: Path) -> Clip:
    """A sentence of EmoDB."""
    path = sorted((shared_data / "emodb" / "wav").glob("*.wav"))[0]
    return Clip(path.stem, str(path))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_media(path, moving_noise(50, 96, 64), tone(2.0))
    return Clip("video", str(path), text="well")


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0, 10.0, 30.0])
@pytest.mark.parametrize("kind", ["speech_like", "folder"])
def test_real_speech_gets_noise_at_exactly_the_ratio(speech: Clip, recordings: Path, kind: str, snr_db: float) -> None:
    wanted = noisy(noise="speech_like" if kind == "speech_like" else str(recordings), snr_db=snr_db)
    clear, heard = decode(speech, CLEAR, wanted)
    assert measured_snr_db(clear, heard) == pytest.approx(snr_db, abs=1e-3)
    assert (heard.snr_db, clear.snr_db, heard.samples.dtype) == (snr_db, None, np.float32)
    # The mean of the sound stays: noise adds none of its own.
    assert heard.samples.mean(dtype=np.float64) == pytest.approx(clear.samples.mean(dtype=np.float64), abs=1e-6)


def test_a_segment_gets_the_ratio_of_its_own_sound(tmp_path: Path) -> None:
    sound = np.concatenate([0.01 * tone(1.0), tone(1.0)], axis=1)
    path = write_media(tmp_path / "a.wav", sound=sound, audio_codec="pcm_s16le")
    for start_s in (0.0, 1.0):
        clear, heard = decode(Clip("clip", str(path), start_s=start_s, end_s=start_s + 1), CLEAR, noisy(snr_db=7))
        assert measured_snr_db(clear, heard) == pytest.approx(7, abs=1e-3)


def test_a_range_is_drawn_evenly_and_by_the_clip_alone() -> None:
    config = DegradationConfig(noise="speech_like", snr_db=(5, 10))
    drawn = np.array([snr_of(config, f"clip_{number}") for number in range(400)])
    assert drawn.min() >= 5 and drawn.max() <= 10
    assert np.histogram(drawn, 5, (5, 10))[0] == pytest.approx(80, abs=30)
    assert snr_of(config, "clip_7") == drawn[7]
    assert snr_of(DegradationConfig(noise="speech_like", snr_db=(5, 10), seed=1), "clip_7") != drawn[7]


@pytest.mark.parametrize("kind", ["speech_like", "folder"])
def test_the_same_clip_hears_the_same_noise_whenever_it_comes(speech: Clip, recordings: Path, kind: str) -> None:
    def heard(clip: Clip, *others: AudioFormat, **more: object) -> np.ndarray:
        wanted = noisy(noise="speech_like" if kind == "speech_like" else str(recordings), **more)
        return decode(clip, *others, wanted)[-1].samples

    first = heard(speech)
    # Alone or with others, after other clips, from another path: only the id counts.
    heard(Clip("other", speech.path))
    np.testing.assert_array_equal(heard(speech, CLEAR, noisy(8000)), first)
    assert not np.array_equal(heard(Clip("other", speech.path)), first)
    assert not np.array_equal(heard(speech, seed=1), first)
    # Another ratio is the same noise, louder or softer.
    (clear,) = decode(speech, CLEAR)
    softer = heard(speech, snr_db=15.0)
    np.testing.assert_allclose(softer - clear.samples, (first - clear.samples) / 10**0.5, atol=2e-6)


def test_the_same_noise_is_heard_at_every_rate() -> None:
    at_16k, at_8k = make_babble(32000, 16000, 3), make_babble(16000, 8000, 3)
    low, all_of_8k = (np.fft.rfft(noise_T)[:7000] / len(noise_T) for noise_T in (at_16k, at_8k))
    assert np.abs(low - all_of_8k).max() < 1e-4 * np.abs(low).max()


def test_babble_has_the_spectrum_and_the_syllables_of_speech() -> None:
    babble_T = make_babble(16000 * 20, 16000, 0)
    power_F = np.abs(np.fft.rfft(babble_T)) ** 2

    def level_db(low_hz: float, high_hz: float) -> float:
        return float(10 * np.log10(power_F[int(low_hz * 20) : int(high_hz * 20)].mean()))

    speech_db = level_db(150, 450)
    assert level_db(900, 1100) == pytest.approx(speech_db - 9, abs=1.5)
    assert level_db(3800, 4200) == pytest.approx(speech_db - 27, abs=2)
    assert level_db(0, 40) < speech_db - 12

    # A smoothed envelope swings at 2 to 8 Hz; steady noise of the same spectrum does so less than half as much.
    def swing(noise_T: np.ndarray) -> float:
        level_t = np.sqrt((noise_T.reshape(-1, 160) ** 2).mean(axis=1))
        spectrum = np.abs(np.fft.rfft(level_t / level_t.mean() - 1)) ** 2
        return float(spectrum[2 * 20 : 8 * 20].sum())

    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(power_F))
    steady_T = np.fft.irfft(np.sqrt(power_F) * np.exp(1j * phases), len(babble_T))
    assert swing(babble_T) > 2 * swing(steady_T)


def test_long_babble_repeats() -> None:
    babble_T = make_babble(100 * 130, 100, 0)
    np.testing.assert_array_equal(babble_T[:6000], babble_T[6000:12000])
    assert make_babble(1, 16000, 0).shape == (1,)


def test_silence_stays_as_it_is_and_says_so(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=np.zeros((1, 8000), np.float32), audio_codec="pcm_s16le")
    (heard,) = decode(Clip("clip", str(path)), noisy())
    assert not heard.samples.any() and heard.snr_db is None


def test_short_recordings_begin_again_and_long_ones_begin_anywhere(recordings: Path) -> None:
    begins = set()
    for seed in range(30):
        excerpt_T = take_noise(recordings, 8000, 16000, seed, MediaLimits())
        assert excerpt_T.shape == (8000,)
        begins.add(excerpt_T[:50].tobytes())
        is_short = np.array_equal(excerpt_T[:3200], excerpt_T[3200:6400])
        is_tone = np.abs(np.fft.rfft(excerpt_T)).argmax() == 350
        assert is_short or is_tone or not np.array_equal(excerpt_T[:4000], excerpt_T[4000:])
    assert len(begins) > 25


def test_silent_recordings_are_passed_over(tmp_path: Path) -> None:
    write_media(tmp_path / "silent.wav", sound=np.zeros((1, 8000), np.float32), audio_codec="pcm_s16le")
    with pytest.raises(MediaError, match=r"noise: .*: 20 excerpts were drawn and all are silent; remove silent recordings"):
        take_noise(tmp_path, 1000, 16000, 0, MediaLimits())
    other = tmp_path / "with_sound"
    other.mkdir()
    write_media(other / "a.wav", sound=noise(1.0), audio_codec="pcm_s16le")
    write_media(other / "silent.wav", sound=np.zeros((1, 8000), np.float32), audio_codec="pcm_s16le")
    assert all(np.ptp(take_noise(other, 1000, 16000, seed, MediaLimits())) > 0 for seed in range(8))


def test_recordings_that_change_are_read_again(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", sound=noise(1.0, seed=1), audio_codec="pcm_s16le")
    before_T = take_noise(tmp_path, 1000, 16000, 0, MediaLimits())
    write_media(tmp_path / "a.wav", sound=noise(1.0, seed=2), audio_codec="pcm_s16le")
    after_T = take_noise(tmp_path, 1000, 16000, 0, MediaLimits())
    assert not np.array_equal(before_T, after_T)
    (tmp_path / "a.wav").rename(tmp_path / "b.wav")
    np.testing.assert_array_equal(take_noise(tmp_path, 1000, 16000, 0, MediaLimits()), after_T)


def test_broken_recordings_are_found_before_anything_starts(recordings: Path, tmp_path: Path) -> None:
    check_noise_folder(recordings, MediaLimits())
    with pytest.raises(ConfigError, match=r"c\.flac: lasts 5 s, more than limits.max_duration_s=4; cut it"):
        check_noise_folder(recordings, MediaLimits(max_duration_s=4))
    (tmp_path / "a.wav").write_bytes(b"no sound at all")
    with pytest.raises(
        ConfigError, match=r"noise: .*a\.wav: not a media file that can be read[^;]*; replace it, or remove it from the folder"
    ):
        check_noise_folder(tmp_path, MediaLimits())
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"a\.wav: the file is empty \(0 bytes\); copy or export it again; or remove it from the folder"):
        check_noise_folder(tmp_path, MediaLimits())
    write_media(tmp_path / "a.wav", sound=noise(1.0), audio_codec="pcm_s16le")
    write_media(tmp_path / "pictures.mp4", moving_noise(5))
    (tmp_path / "pictures.mp4").rename(tmp_path / "pictures.m4a")
    with pytest.raises(ConfigError, match=r"pictures\.m4a: holds no sound; remove it from the folder"):
        check_noise_folder(tmp_path, MediaLimits())


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_frames_are_blurred_as_by_opencv(video: Clip, sigma: float) -> None:
    clear, soft = decode(video, SEEN, blurred(sigma))
    assert len(clear.images) == 10
    np.testing.assert_array_equal(soft.images, [cv2.GaussianBlur(image, (0, 0), sigma) for image in clear.images])
    assert not np.array_equal(soft.images, clear.images)
    np.testing.assert_array_equal(soft.times_s, clear.times_s)
    # The clear ones are what they are without the blurred ones.
    np.testing.assert_array_equal(clear.images, decode(video, SEEN)[0].images)


def test_long_clips_are_degraded_piece_by_piece(video: Clip) -> None:
    whole, heard = decode(video, blurred(2.0), noisy())
    pieces = list(decode_pieces(video, blurred(2.0), MediaLimits(), 0.6))
    assert len(pieces) == 4
    np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces]), whole.images)
    sounds = list(decode_pieces(video, noisy(), MediaLimits(), 0.5))
    assert len(sounds) >= 4
    np.testing.assert_array_equal(np.concatenate([sound.samples for sound in sounds]), heard.samples)
    assert {sound.snr_db for sound in sounds} == {heard.snr_db} == {5.0}


def test_what_is_taken_away_is_lacking_and_the_rest_is_not(video: Clip) -> None:
    def without(name: str) -> DegradationConfig:
        return DegradationConfig.model_validate({"without": [name]})

    no_frames = FrameFormat(48, rate_hz=5.0, degrade=without("vision"))
    gone = decode(video, AudioFormat(16000, without("audio")), no_frames, TextFormat(without("text")), SEEN, TextFormat())
    assert gone[:3] == [None, None, None] and isinstance(gone[3], Frames) and gone[4] == "well"
    assert list(decode_pieces(video, no_frames, MediaLimits(), 0.5)) == []


def test_copies_count_against_the_memory_of_the_clip(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=noise(12.0), audio_codec="pcm_s16le")
    clip, limits = Clip("clip", str(path)), MediaLimits(max_decoded_mb=1)
    assert decode_clip(clip, [CLEAR], limits)[CLEAR] is not None
    with pytest.raises(MediaError, match="max_decoded_mb=1"):
        decode_clip(clip, [CLEAR, noisy()], limits)
