"""Media on a real S3 server process: probed by their headers, fetched to decode, removed afterwards."""

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.container import open_container
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.probe import probe_media
from mer_ray.decoders.remote import local_copy, open_remote

AUDIO, FRAMES = AudioFormat(16000), FrameFormat(32, num_frames=3)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for index in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, np.uint8), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 16000)).astype(np.float32)
        for begin in range(0, 16000, 1000):
            part = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, begin : begin + 1000]), format="fltp", layout="mono")
            part.sample_rate, part.pts, part.time_base = 16000, begin, Fraction(1, 16000)
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))
    return path


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def put(film: Path, url: str) -> str:
    fsspec.filesystem("s3").put_file(str(film), url)
    return url


@pytest.mark.parametrize("name", ["film.mp4", "a folder/Ärger & 你好.mp4"])
def test_remote_equals_local_and_leaves_no_copy(film: Path, s3_bucket: str, temporary_folder: Path, name: str) -> None:
    url = put(film, f"{s3_bucket}/{name}")
    assert probe_media(url) == probe_media(str(film))
    remote = decode_clip(Clip("c", path=url, start_s=0.2, end_s=0.9), [AUDIO, FRAMES], MediaLimits())
    local = decode_clip(Clip("c", path=str(film), start_s=0.2, end_s=0.9), [AUDIO, FRAMES], MediaLimits())
    assert isinstance(remote[AUDIO], Audio)
    assert isinstance(remote[FRAMES], Frames)
    np.testing.assert_array_equal(remote[AUDIO].samples, local[AUDIO].samples)
    np.testing.assert_array_equal(remote[FRAMES].images, local[FRAMES].images)
    assert list(temporary_folder.iterdir()) == []


def test_the_copy_goes_away_when_decoding_fails(film: Path, s3_bucket: str, temporary_folder: Path) -> None:
    url = put(film, f"{s3_bucket}/film.mp4")
    with pytest.raises(RuntimeError, match="in the middle"), local_copy(url) as path:
        assert Path(path).read_bytes() == film.read_bytes()
        raise RuntimeError("in the middle")
    assert list(temporary_folder.iterdir()) == []


def test_probing_reads_the_headers_only(s3_bucket: str) -> None:
    num_bytes = 40_000_000
    header = b"WAVEfmt \x10\0\0\0\1\0\1\0" + (16000).to_bytes(4, "little") + (32000).to_bytes(4, "little") + b"\2\0\x10\0data"
    wave = b"RIFF" + (num_bytes + 36).to_bytes(4, "little") + header + num_bytes.to_bytes(4, "little") + bytes(num_bytes)
    url = f"{s3_bucket}/long.wav"
    fsspec.filesystem("s3").pipe_file(url, wave)
    assert probe_media(url).duration_s == num_bytes / 32000
    with open_remote(url) as (file, size):
        assert size == num_bytes + 44
        with open_container(file, url):
            assert 0 < file.cache.total_requested_bytes < 2_000_000


def test_faults_name_the_url(film: Path, s3_bucket: str, temporary_folder: Path) -> None:
    gone = f"{s3_bucket}/gone.mp4"
    for read in (probe_media, lambda url: decode_clip(Clip("c", path=url), [AUDIO], MediaLimits())):
        with pytest.raises(MediaError, match=rf"^{gone}: no such file"):
            read(gone)
        text = f"{s3_bucket}/text.mp4"
        fsspec.filesystem("s3").pipe_file(text, b"ffconcat version 1.0\nfile film.mp4\n")
        with pytest.raises(MediaError, match=rf"^{text}: not a media file that can be read"):
            read(text)
        empty = f"{s3_bucket}/empty.mp4"
        fsspec.filesystem("s3").touch(empty)
        with pytest.raises(MediaError, match=rf"^{empty}: the file is empty \(0 bytes\)"):
            read(empty)
    assert list(temporary_folder.iterdir()) == []


def test_copies_are_bounded(film: Path, s3_bucket: str, temporary_folder: Path) -> None:
    url = f"{s3_bucket}/large.wav"
    fsspec.filesystem("s3").pipe_file(url, bytes(2 * 2**20))
    with pytest.raises(MediaError, match="2 MiB, more than the limit max_file_mb=1"), local_copy(url, MediaLimits(max_file_mb=1)):
        pass
    assert list(temporary_folder.iterdir()) == []
