from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from media_factory import Decode, noise, numbered_images, tone, write_media, write_wave

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Audio, AudioFormat
from mer_ray.decoders.limits import MediaLimits


def test_samples_are_those_of_the_file(tmp_path: Path, decode: Decode) -> None:
    samples_TC = np.random.default_rng(0).integers(-32768, 32767, (12345, 1), np.int16)
    audio = decode(write_wave(tmp_path / "a.wav", samples_TC), AudioFormat(16000))
    assert isinstance(audio, Audio)
    assert audio.sample_rate_hz == 16000
    assert audio.samples.dtype == np.float32
    np.testing.assert_array_equal(audio.samples, samples_TC[:, 0] / np.float32(32768))


@pytest.mark.parametrize("num_channels", [2, 3, 8, 9, 16])
def test_channels_are_averaged(tmp_path: Path, decode: Decode, num_channels: int) -> None:
    samples_TC = noise(0.2, num_channels=num_channels).T.copy()
    audio = decode(write_wave(tmp_path / "a.wav", samples_TC), AudioFormat(16000))
    assert isinstance(audio, Audio)
    np.testing.assert_allclose(audio.samples, samples_TC.mean(axis=1), atol=1e-6)


def test_sixteen_planar_channels(tmp_path: Path, decode: Decode) -> None:
    sound = np.repeat(tone(0.5, 48000), 16, axis=0)
    sound[1::2] = 0
    path = write_media(tmp_path / "a.mka", sound=sound, rate_hz=48000, audio_codec="libopus", audio_options={"mapping_family": "255"})
    audio = decode(path, AudioFormat(48000))
    assert isinstance(audio, Audio)
    assert len(audio.samples) == 24000
    assert np.corrcoef(audio.samples, tone(0.5, 48000)[0])[0, 1] > 0.99
    assert np.abs(audio.samples).max() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw"])
def test_sample_types(tmp_path: Path, decode: Decode, codec: str) -> None:
    audio = decode(write_media(tmp_path / "a.wav", sound=tone(0.1), audio_codec=codec), AudioFormat(16000))
    assert isinstance(audio, Audio)
    tolerance = {"pcm_u8": 1 / 127, "pcm_alaw": 1 / 40}.get(codec, 1e-4)
    np.testing.assert_allclose(audio.samples, tone(0.1)[0], atol=tolerance)


@pytest.mark.parametrize("native_hz", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("wanted_hz", [8000, 16000, 24000, 44100])
def test_number_of_samples_at_every_rate(tmp_path: Path, decode: Decode, native_hz: int, wanted_hz: int) -> None:
    path = write_wave(tmp_path / "a.wav", tone(0.7, native_hz).T.copy(), native_hz)
    audio = decode(path, AudioFormat(wanted_hz))
    assert isinstance(audio, Audio)
    assert audio.sample_rate_hz == wanted_hz
    assert len(audio.samples) == ceil(round(0.7 * native_hz) * wanted_hz / native_hz)
    middle = slice(len(audio.samples) // 4, len(audio.samples) // 2)
    np.testing.assert_allclose(audio.samples[middle], tone(0.7, wanted_hz)[0][: len(audio.samples)][middle], atol=5e-3)


def test_resampling_is_torchaudios(tmp_path: Path, decode: Decode) -> None:
    samples = noise(0.3, 22050)
    audio = decode(write_wave(tmp_path / "a.wav", samples.T.copy(), 22050), AudioFormat(16000))
    assert isinstance(audio, Audio)
    expected = torchaudio.functional.resample(torch.from_numpy(samples[0]), 22050, 16000)
    np.testing.assert_allclose(audio.samples, expected.numpy(), atol=2e-5)


def test_rates_without_a_common_divisor(tmp_path: Path, decode: Decode) -> None:
    path = write_wave(tmp_path / "a.wav", tone(0.5, 22253).T.copy(), 22253)
    audio = decode(path, AudioFormat(16000))
    assert isinstance(audio, Audio)
    assert len(audio.samples) == ceil(round(0.5 * 22253) * 16000 / 22253)
    np.testing.assert_allclose(audio.samples[2000:6000], tone(0.5)[0][2000:6000], atol=5e-3)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.m4a", "aac", 16000),
        ("b.m4a", "aac", 44100),
        ("a.mp3", "libmp3lame", 44100),
        ("a.flac", "flac", 16000),
        ("a.ogg", "libopus", 48000),
        ("a.mka", "libopus", 48000),
        ("a.mka", "flac", 44100),
    ],
)
def test_codecs_keep_length_and_place(tmp_path: Path, decode: Decode, name: str, codec: str, rate_hz: int) -> None:
    """Priming and padding of the codec are no part of the sound."""
    sound = noise(1.234, rate_hz)
    sound = np.stack([np.convolve(sound[0], np.ones(8) / 8, "same")]).astype(np.float32)
    audio = decode(write_media(tmp_path / name, sound=sound, rate_hz=rate_hz, audio_codec=codec), AudioFormat(rate_hz))
    assert isinstance(audio, Audio)
    assert len(audio.samples) == sound.shape[1]
    shifts = range(-20, 21)
    likeness = [float(np.dot(audio.samples[2000:-2000], sound[0][2000 + shift : sound.shape[1] - 2000 + shift])) for shift in shifts]
    assert shifts[int(np.argmax(likeness))] == 0


def test_silence_where_the_sound_begins_late(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "late.mkv", numbered_images(50), tone(1.0), audio_codec="pcm_s16le", sound_start_s=0.5)
    audio = decode(path, AudioFormat(16000))
    assert isinstance(audio, Audio)
    assert len(audio.samples) == 24000
    assert not audio.samples[:8000].any()
    np.testing.assert_allclose(audio.samples[8000:], tone(1.0)[0], atol=1e-4)


def test_zero_samples(tmp_path: Path, decode: Decode) -> None:
    with pytest.raises(MediaError, match=r"the sound has no samples$"):
        decode(write_wave(tmp_path / "a.wav", np.zeros((0, 1), np.int16)), AudioFormat(16000))


def test_film_whose_sound_has_no_samples(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mkv", numbered_images(10), np.zeros((1, 0), np.float32))
    with pytest.raises(MediaError, match=r"the sound has no samples$"):
        decode(path, AudioFormat(16000))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number(tmp_path: Path, decode: Decode, value: float) -> None:
    samples = noise(1.0).T.copy()
    samples[12000] = value
    with pytest.raises(MediaError, match=r"at 0\.75 s is not a number"):
        decode(write_wave(tmp_path / "a.wav", samples), AudioFormat(16000))


@pytest.mark.parametrize("promised_bytes", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_wave_written_to_a_pipe(tmp_path: Path, decode: Decode, promised_bytes: int) -> None:
    path = write_wave(tmp_path / "a.wav", noise(0.5).T.copy(), promised_bytes=promised_bytes)
    audio = decode(path, AudioFormat(16000))
    assert isinstance(audio, Audio)
    assert len(audio.samples) == 8000


def test_wave_header_a_few_bytes_off(tmp_path: Path, decode: Decode) -> None:
    path = write_wave(tmp_path / "a.wav", np.zeros((16000, 1), np.int16), promised_bytes=32044)
    audio = decode(path, AudioFormat(16000))
    assert isinstance(audio, Audio)
    assert len(audio.samples) == 16000


def test_budget(tmp_path: Path, decode: Decode) -> None:
    path = write_wave(tmp_path / "a.wav", np.zeros((16000 * 20, 1), np.int16))
    assert decode(path, AudioFormat(16000), MediaLimits(max_decoded_mb=2)) is not None
    with pytest.raises(MediaError, match=r"^clip: needs more memory than the limit max_decoded_mb=1"):
        decode(path, AudioFormat(16000), MediaLimits(max_decoded_mb=1))
    with pytest.raises(MediaError, match=r"max_decoded_mb=2"):
        decode(path, AudioFormat(48000), MediaLimits(max_decoded_mb=2))
