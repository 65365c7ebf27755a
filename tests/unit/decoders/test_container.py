import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from media_factory import numbered_images, tone, write_media

from mer_ray.core.errors import MediaError
from mer_ray.decoders.container import open_container
from mer_ray.decoders.limits import MediaLimits


def refusal(path: Path) -> str:
    with pytest.raises(MediaError) as caught, open_container(str(path)):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("film") / "film.mp4", numbered_images(10), tone(0.4))


def test_zero_byte_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "empty (0 bytes)" in refusal(path)


def test_text_renamed_to_mp4(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no media at all\n" * 100)
    assert "not a media file" in refusal(path)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "gone.mp4")


def test_folder(tmp_path: Path) -> None:
    assert "a folder" in refusal(tmp_path)


def test_file_used_as_a_folder(film: Path) -> None:
    assert "a folder" in refusal(film / "clip.mp4")


def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    assert "not a regular file" in refusal(path)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything: act as `nobody` where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission(tmp_path: Path, film: Path) -> None:
    path = tmp_path / "locked.mp4"
    shutil.copy(film, path)
    path.chmod(0)
    with as_ordinary_user():
        assert "no permission" in refusal(path)


def test_no_permission_inside_a_folder_that_may_be_entered(film: Path) -> None:
    folder = Path("/var/tmp") / f"mer-ray-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        path = folder / "locked.mp4"
        shutil.copy(film, path)
        path.chmod(0)
        with as_ordinary_user():
            assert "no permission" in refusal(path)
    finally:
        shutil.rmtree(folder)


def test_container_without_any_stream(tmp_path: Path) -> None:
    def box(name: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + name + content

    movie_header = bytes(12) + (1000).to_bytes(4, "big") * 2 + (0x10000).to_bytes(4, "big") + bytes(76) + (1).to_bytes(4, "big")
    path = tmp_path / "hollow.mp4"
    path.write_bytes(box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", box(b"mvhd", movie_header)))
    assert "no stream of pictures or sound" in refusal(path)


@pytest.mark.parametrize(
    "name", ["Ärger über 你好 🙂.mp4", "two  spaces and 'quotes\".mp4", "10:30.mp4", "concat:a.mp4", "%03d.mp4", "http:x.mp4", "a|b.mp4"]
)
def test_any_file_name_is_just_a_name(tmp_path: Path, film: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(film, path)
    with open_container(str(path)) as media:
        assert media.video is not None
        assert media.audio is not None


PLAYLISTS = {
    "ffconcat.mp4": "ffconcat version 1.0\nfile neighbour.mp4\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\nneighbour.mp4\n#EXT-X-ENDLIST\n",
}


@contextmanager
def watched_neighbour(folder: Path) -> Iterator[threading.Event]:
    """A pipe beside the playlist: the event tells that someone opened it for reading."""
    pipe = folder / "neighbour.mp4"
    os.mkfifo(pipe)
    was_opened = threading.Event()

    def wait_for_a_reader() -> None:
        with pipe.open("wb"):
            was_opened.set()

    watcher = threading.Thread(target=wait_for_a_reader)
    watcher.start()
    try:
        yield was_opened
    finally:
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        watcher.join()


@pytest.mark.parametrize("name", PLAYLISTS)
def test_renamed_playlist_is_refused_and_its_neighbour_stays_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(PLAYLISTS[name])
    with watched_neighbour(tmp_path) as was_opened:
        assert "not a media file" in refusal(tmp_path / name)
        assert not was_opened.wait(0.2)


def test_the_watch_sees_the_neighbour_that_the_protocol_list_alone_would_read(tmp_path: Path) -> None:
    (tmp_path / "ffconcat.mp4").write_text(PLAYLISTS["ffconcat.mp4"])
    with watched_neighbour(tmp_path) as was_opened:
        with pytest.raises(av.error.FFmpegError):
            av.open(str(tmp_path / "ffconcat.mp4"), container_options={"protocol_whitelist": "file"})
        assert was_opened.wait(10)


def test_cover_art_is_no_picture_stream(tmp_path: Path) -> None:
    path = write_with_cover(tmp_path / "song.m4a")
    with open_container(str(path)) as media:
        assert media.video is None
        assert media.audio is not None


def write_with_cover(path: Path) -> Path:
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in cover.encode(av.VideoFrame.from_ndarray(numbered_images(1)[0], format="rgb24")):
            container.mux(packet)
        sound = av.AudioFrame.from_ndarray(tone(0.064), format="fltp", layout="mono")
        sound.sample_rate = 16000
        for packet in [*audio.encode(sound), *audio.encode(None)]:
            container.mux(packet)
    return path


def test_limits_by_header(film: Path) -> None:
    with open_container(str(film)) as media:
        media.check_limits(MediaLimits())
        with pytest.raises(MediaError, match=r"64x48 = 3072 pixels, more than the limit max_frame_pixels=3071"):
            media.check_limits(MediaLimits(max_frame_pixels=3071))
