from pathlib import Path

import numpy as np
import pytest
from media_factory import cut_file, numbered_images, tone, write_media, write_wave

from mer_ray.decoders.missing_bytes import missing_mp4_bytes, missing_wave_s


def test_whole_files_lack_nothing(tmp_path: Path) -> None:
    assert missing_wave_s(str(write_wave(tmp_path / "a.wav", np.zeros((8000, 2), np.int16)))) == 0
    assert missing_wave_s(str(write_media(tmp_path / "b.wav", sound=tone(0.5), audio_codec="pcm_s24le"))) == 0
    for options in ({}, {"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}):
        assert missing_mp4_bytes(str(write_media(tmp_path / "a.mp4", numbered_images(10), container_options=options))) == 0


def test_cut_files(tmp_path: Path) -> None:
    wave = write_wave(tmp_path / "a.wav", np.zeros((8000, 1), np.int16), left_out_bytes=8000)
    assert missing_wave_s(str(wave)) == 0.25
    film = write_media(tmp_path / "a.mp4", numbered_images(10), container_options={"movflags": "faststart"})
    assert missing_mp4_bytes(str(cut_file(film, 0.9))) == film.stat().st_size - int(film.stat().st_size * 0.9)


@pytest.mark.parametrize("promised_bytes", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_waves_of_open_length(tmp_path: Path, promised_bytes: int) -> None:
    assert missing_wave_s(str(write_wave(tmp_path / "a.wav", np.zeros((8, 1), np.int16), promised_bytes=promised_bytes))) == 0


def test_padding_behind_the_last_box(tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.mp4", numbered_images(10))
    with film.open("ab") as file:
        file.write(bytes(100))
    assert missing_mp4_bytes(str(film)) == 0


def test_large_and_open_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes((1).to_bytes(4, "big") + b"mdat" + (100).to_bytes(8, "big") + bytes(34))
    assert missing_mp4_bytes(str(path)) == 50
    path.write_bytes((0).to_bytes(4, "big") + b"mdat" + bytes(34))
    assert missing_mp4_bytes(str(path)) == 0
