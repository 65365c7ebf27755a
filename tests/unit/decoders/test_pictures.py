from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_factory import Decode, moving_noise, number_of, numbered_images, tone, write_media

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Clip, FrameFormat, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.scaling import FrameScaler

CONTAINERS = [
    ("a.mp4", "libx264", {}),
    ("a.mkv", "libx264", {"g": "10"}),
    ("a.mov", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
    ("a.avi", "libx264", {"g": "10"}),
    ("a.avi", "mpeg4", {"bf": "2", "g": "10"}),
    ("b.avi", "mjpeg", {}),
    ("a.mp4", "mpeg4", {"bf": "2"}),
    ("a.webm", "libvpx", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
    ("a.webm", "libvpx-vp9", {"g": "10", "deadline": "realtime", "cpu-used": "8"}),
    ("a.mp4", "libx265", {"x265-params": "log-level=none:pools=1:keyint=10"}),
    ("a.flv", "libx264", {"bf": "0"}),
]
SPARSE = [FrameFormat(48, num_frames=1), FrameFormat(48, num_frames=3), FrameFormat(48, num_frames=16), FrameFormat(48, rate_hz=7.0)]


def as_frames(decoded: object) -> Frames:
    assert isinstance(decoded, Frames)
    assert decoded.images.dtype == np.uint8
    assert decoded.images.shape[0] == len(decoded.times_s)
    return decoded


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS)
def test_frames_are_the_right_ones(tmp_path: Path, decode: Decode, name: str, codec: str, options: dict[str, str]) -> None:
    path = write_media(tmp_path / name, numbered_images(50), video_codec=codec, video_options=options)
    frames = as_frames(decode(path, FrameFormat(32, num_frames=10)))
    assert [number_of(image) for image in frames.images] == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47]
    np.testing.assert_allclose(frames.times_s, np.arange(2, 50, 5) / 25, atol=0.002)


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS)
def test_frames_left_out_on_the_way_change_nothing(tmp_path: Path, decode: Decode, name: str, codec: str, options: dict[str, str]) -> None:
    """Sparse frames, for which most pictures need no decoding, against plain decoding of all."""
    path = write_media(tmp_path / name, moving_noise(60), video_codec=codec, video_options=options)
    with av.open(str(path)) as container:
        scaler = FrameScaler(container.streams.video[0].sample_aspect_ratio)
        every = [scaler.scale(frame, 48, "centre") for frame in container.decode(video=0)]
    assert len(every) == 60
    for frame_format in SPARSE:
        frames = as_frames(decode(path, frame_format))
        for time_s, image in zip(frames.times_s, frames.images, strict=True):
            np.testing.assert_array_equal(image, every[round(time_s * 25)], err_msg=f"{frame_format} at {time_s}")


def test_several_formats_in_one_pass_equal_one_at_a_time(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mp4", moving_noise(50))
    formats = [*SPARSE, FrameFormat(20, num_frames=5, crop="whole"), FrameFormat(112, num_frames=5)]
    together = decode_clip(Clip("clip", path=str(path)), formats, MediaLimits())
    assert list(together) == formats
    for frame_format in formats:
        alone = as_frames(decode(path, frame_format))
        np.testing.assert_array_equal(as_frames(together[frame_format]).images, alone.images)
        np.testing.assert_array_equal(as_frames(together[frame_format]).times_s, alone.times_s)


def test_one_frame_video(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mp4", numbered_images(1))
    for frame_format in SPARSE:
        assert as_frames(decode(path, frame_format)).images.shape == (1, 48, 48, 3)


def test_fewer_pictures_than_asked_for(tmp_path: Path, decode: Decode) -> None:
    frames = as_frames(decode(write_media(tmp_path / "a.mp4", numbered_images(5)), FrameFormat(16, num_frames=16)))
    assert [number_of(image) for image in frames.images] == [0, 1, 2, 3, 4]


def test_variable_frame_rate(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mkv", numbered_images(6), picture_times=[0, 1, 2, 40, 41, 49])
    frames = as_frames(decode(path, FrameFormat(16, num_frames=5)))
    assert [number_of(image) for image in frames.images] == [2, 4]
    np.testing.assert_allclose(frames.times_s, [2 / 25, 41 / 25], atol=0.001)


def test_video_that_begins_late_and_sound_that_is_longer(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mkv", numbered_images(25), tone(4.0), video_start_s=1.0)
    frames = as_frames(decode(path, FrameFormat(16, num_frames=5)))
    assert [number_of(image) for image in frames.images] == [2, 7, 12, 17, 22]
    np.testing.assert_allclose(frames.times_s, 1 + np.arange(2, 25, 5) / 25, atol=0.03)


@pytest.mark.parametrize(("width", "height"), [(161, 121), (97, 203), (33, 31), (2, 2), (640, 8), (8, 640)])
@pytest.mark.parametrize("crop", ["centre", "whole"])
def test_odd_sizes(tmp_path: Path, decode: Decode, width: int, height: int, crop: str) -> None:
    path = write_media(tmp_path / "a.avi", numbered_images(3, width, height), video_codec="rawvideo")
    frames = as_frames(decode(path, FrameFormat(112, num_frames=3, crop=crop)))
    assert frames.images.shape == (3, 112, 112, 3)
    if crop == "centre":
        assert [number_of(image) for image in frames.images] == [0, 1, 2]


def painted(width: int, height: int) -> np.ndarray:
    """Black, with a white centred square of the height's size and a red left edge."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, (width - height) // 2 : (width + height) // 2] = 255
    image[:, : height // 4] = (255, 0, 0)
    return image


def test_centre_crop_keeps_the_centred_square(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.avi", [painted(192, 96)] * 2, video_codec="rawvideo")
    image = as_frames(decode(path, FrameFormat(48, num_frames=1))).images[0]
    assert image[2:-2, 2:-2].min() > 250


def test_whole_frame_is_letterboxed(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.avi", [painted(192, 96)] * 2, video_codec="rawvideo")
    image = as_frames(decode(path, FrameFormat(64, num_frames=1, crop="whole"))).images[0]
    assert not image[:16].any()
    assert not image[48:].any()
    assert image[32, 2].tolist() == [255, 0, 0]
    assert image[18:46, 18:46].min() > 250
    assert image[32, 60].max() < 5


@pytest.mark.parametrize(("rotation", "edge"), [(0, "left"), (90, "bottom"), (180, "right"), (-90, "top")])
@pytest.mark.parametrize("crop", ["centre", "whole"])
def test_rotation_of_the_camera_is_undone(tmp_path: Path, decode: Decode, rotation: int, edge: str, crop: str) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :16] = 255
    path = write_media(tmp_path / "a.mp4", [image] * 3, rotation=rotation)
    upright = as_frames(decode(path, FrameFormat(32, num_frames=1, crop=crop))).images[0]
    edges = {"left": upright[:, :6], "right": upright[:, -6:], "top": upright[:6], "bottom": upright[-6:]}
    assert edges.pop(edge).min() > 240
    assert all(other.mean() < 100 for other in edges.values())


def test_pixels_that_are_not_square(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mp4", [np.full((64, 64, 3), 255, np.uint8)] * 2, pixel_aspect=Fraction(2, 1))
    image = as_frames(decode(path, FrameFormat(32, num_frames=1, crop="whole"))).images[0]
    bright_rows = np.flatnonzero(image[:, 16].min(axis=-1) > 200)
    assert (bright_rows[0], bright_rows[-1]) == (8, 23)
    assert image[16].min() > 200


def test_colours(tmp_path: Path, decode: Decode) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 60
    frames = as_frames(decode(write_media(tmp_path / "a.mp4", [image] * 2, video_options={"crf": "1"}), FrameFormat(32, num_frames=1)))
    np.testing.assert_allclose(frames.images[0].mean(axis=(0, 1)), [200, 0, 60], atol=5)


@pytest.mark.slow
def test_8k_is_refused_and_4k_passes(tmp_path: Path, decode: Decode) -> None:
    large = write_media(tmp_path / "8k.mp4", [np.zeros((4320, 7680, 3), np.uint8)], video_codec="mpeg4")
    with pytest.raises(MediaError, match=r"8k\.mp4: pictures of 7680x4320 = 33177600 pixels, more than the limit"):
        decode(large, FrameFormat(32, num_frames=1))
    allowed = write_media(tmp_path / "4k.mp4", [np.zeros((2160, 3840, 3), np.uint8)], video_codec="mpeg4")
    assert as_frames(decode(allowed, FrameFormat(32, num_frames=1))).images.shape == (1, 32, 32, 3)


def test_picture_size_that_the_header_hides(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mp4", [np.zeros((720, 1280, 3), np.uint8)] * 2, video_codec="mpeg4")
    size = (1280).to_bytes(2, "big") + (720).to_bytes(2, "big")
    data = path.read_bytes()
    assert data.count(size) == 1
    path.write_bytes(data.replace(size, (160).to_bytes(2, "big") + (90).to_bytes(2, "big")))
    with pytest.raises(MediaError, match="max_frame_pixels"):
        decode(path, FrameFormat(32, num_frames=1), MediaLimits(max_frame_pixels=200_000))


def test_stream_without_pictures(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mkv", [], tone(0.5))
    with pytest.raises(MediaError, match="a stream of pictures without pictures"):
        decode(path, FrameFormat(32, num_frames=1))


def test_budget_counts_frames(tmp_path: Path, decode: Decode) -> None:
    path = write_media(tmp_path / "a.mp4", numbered_images(50))
    assert as_frames(decode(path, FrameFormat(224, num_frames=6), MediaLimits(max_decoded_mb=1))).images.shape[0] == 6
    with pytest.raises(MediaError, match="max_decoded_mb=1"):
        decode(path, FrameFormat(224, num_frames=50), MediaLimits(max_decoded_mb=1))
