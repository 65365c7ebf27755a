from pathlib import Path

import numpy as np
import pytest
from media_factory import noise, numbered_images, tone, write_media, write_wave

from mer_ray.core.errors import MediaError
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.probe import MediaFacts, probe_media


def test_film(tmp_path: Path) -> None:
    path = write_media(tmp_path / "film.mp4", numbered_images(50, 96, 64), tone(2.0, 44100, num_channels=2), rate_hz=44100)
    assert probe_media(str(path)) == MediaFacts(2.0, True, True, 96, 64, 44100, 2, path.stat().st_size)


def test_sound_only(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "sound.wav", np.zeros((8000, 3), np.int16), 16000)
    assert probe_media(str(path)) == MediaFacts(0.5, True, False, None, None, 16000, 3, path.stat().st_size)


def test_pictures_only(tmp_path: Path) -> None:
    facts = probe_media(str(write_media(tmp_path / "silent.webm", numbered_images(25), video_codec="libvpx")))
    assert (facts.has_audio, facts.has_video, facts.sample_rate_hz, facts.num_channels) == (False, True, None, None)
    assert facts.duration_s == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(
    ("name", "audio_codec", "rate_hz"),
    [
        ("a.mp3", "libmp3lame", 44100),
        ("a.flac", "flac", 16000),
        ("a.ogg", "libopus", 48000),
        ("a.m4a", "aac", 22050),
        ("a.mka", "libopus", 48000),
        ("a.wav", "pcm_s16le", 8000),
    ],
)
def test_duration_of_sound(tmp_path: Path, name: str, audio_codec: str, rate_hz: int) -> None:
    facts = probe_media(str(write_media(tmp_path / name, sound=noise(1.5, rate_hz), audio_codec=audio_codec, rate_hz=rate_hz)))
    assert facts.duration_s == pytest.approx(1.5, abs=0.01)
    assert facts.sample_rate_hz == rate_hz


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.flv", "a.mov", "a.3gp"])
def test_duration_of_films(tmp_path: Path, name: str) -> None:
    sound = tone(2.0, 44100)
    codec = "libmp3lame" if name == "a.avi" else "aac"
    facts = probe_media(str(write_media(tmp_path / name, numbered_images(50), sound, rate_hz=44100, audio_codec=codec)))
    assert facts.duration_s == pytest.approx(2.0, abs=0.15)
    assert facts.has_audio
    assert facts.has_video


def test_duration_from_packets_where_the_header_guesses(tmp_path: Path) -> None:
    # Without its first frame, which counts the others, an MP3 of variable bit rate has a duration by guess only.
    options = {"write_xing": "0", "id3v2_version": "0"}
    quiet_then_loud = np.concatenate([np.zeros((1, 44100 * 4), np.float32), noise(1.0, 44100)], axis=1)
    path = write_media(tmp_path / "guess.mp3", sound=quiet_then_loud, rate_hz=44100, audio_codec="libmp3lame", container_options=options)
    assert probe_media(str(path)).duration_s == pytest.approx(5.0, abs=0.1)


def test_fragments_without_a_duration_in_the_header(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    path = write_media(tmp_path / "fragments.mp4", numbered_images(50), container_options=options)
    assert probe_media(str(path)).duration_s == pytest.approx(2.0, abs=0.1)


def test_empty_streams(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "nothing.wav", np.zeros((0, 1), np.int16))
    with pytest.raises(MediaError, match="no sound samples"):
        probe_media(str(path))


def test_missing_file_and_other_protocols() -> None:
    with pytest.raises(MediaError, match="no such file"):
        probe_media("/nowhere/gone.mp4")
    with pytest.raises(MediaError, match=r"media is read from folders and from s3://, not from http://"):
        probe_media("http://localhost:1/clip.mp4")


def test_limits_are_checked_on_request(tmp_path: Path) -> None:
    path = str(write_media(tmp_path / "film.mp4", numbered_images(3)))
    with pytest.raises(MediaError, match="max_frame_pixels"):
        probe_media(path, MediaLimits(max_frame_pixels=100))
    wide = str(write_wave(tmp_path / "wide.wav", np.zeros((100, 16), np.int16)))
    assert probe_media(wide, MediaLimits(max_channels=16)).num_channels == 16
    with pytest.raises(MediaError, match=r"16 channels, more than the limit max_channels=15"):
        probe_media(wide, MediaLimits(max_channels=15))
