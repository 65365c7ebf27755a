"""Faces of a real talking head, found by YuNet; needs the shared media and the detector's file."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mer_ray.core.faces import DetectedFaces
from mer_ray.core.media_types import Clip, FrameFormat, Frames
from mer_ray.decoders import pictures
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.face_choice import carry_faces, overlap
from mer_ray.decoders.face_crop import tilt
from mer_ray.decoders.face_detector import Face, FaceDetector
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.pieces import decode_pieces

Write = Callable[..., Clip]


pytestmark = pytest.mark.slow


@pytest.fixture
def weights(shared_data: Path) -> Path:
    return shared_data / "models/yunet_n_dynamic.onnx"


@pytest.fixture
def clip(shared_data: Path) -> Clip:
    return Clip("head", path=str(shared_data / "media/talking_head.mp4"))


@pytest.fixture(scope="module")
def images(shared_data: Path) -> list[np.ndarray]:
    with av.open(str(shared_data / "media/talking_head.mp4")) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A video of some pictures, near enough without loss."""

    def write_video(pictures: list[np.ndarray], rotation: int = 0, pixel_aspect: Fraction = Fraction(1)) -> Clip:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
            stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
            stream.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation:
                stream.set_display_rotation(rotation)
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
            container.mux(stream.encode(None))
        return Clip("written", path=str(path))

    return write_video


def faces_of(clip: Clip, weights: Path, size: int = 224, limits: MediaLimits | None = None, **options: object) -> Frames:
    of_format = {key: options.pop(key) for key in ("rate_hz", "num_frames") if key in options} or {"num_frames": 12}
    wanted = FrameFormat(size, faces=DetectedFaces(weights=weights, **options), **of_format)
    frames = decode_clip(clip, [wanted], limits or MediaLimits())[wanted]
    assert isinstance(frames, Frames)
    return frames


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def largest(detector: FaceDetector, image: np.ndarray) -> Face:
    return max(detector.find(image), key=lambda face: face.area)


@pytest.mark.parametrize("choice", ["largest", "continuous"])
def test_the_face_is_in_every_frame_and_fills_the_crop(clip: Clip, weights: Path, choice: str) -> None:
    frames = faces_of(clip, weights, choice=choice, num_frames=20, margin=0.5)
    assert frames.images.shape == (20, 224, 224, 3)
    assert frames.no_face_share == 0
    np.testing.assert_allclose(frames.times_s, np.arange(20) * 0.4 + 0.2, atol=0.021)
    detector = FaceDetector(DetectedFaces(weights=weights))
    for image in frames.images:
        face = largest(detector, image)
        assert np.abs(face.box[:2] + face.box[2:] / 2 - 112).max() < 15
        assert 1.3 < 224 / face.box[2:].max() < 1.8


# The detector itself underrates heads that lean to the left.
@pytest.mark.parametrize(("angle", "tolerance"), [(-20, 5), (0, 3), (15, 3)])
def test_aligned_eyes_are_level(images: list[np.ndarray], weights: Path, write: Write, angle: float, tolerance: float) -> None:
    turn = cv2.getRotationMatrix2D((256, 256), -angle, 1.0)
    clip = write([cv2.warpAffine(image, turn, (512, 512)) for image in images[::10]])
    detector = FaceDetector(DetectedFaces(weights=weights))
    # The detector's landmarks are sure to some two degrees: single frames say little.
    tilts = {
        align: np.degrees(
            [tilt(largest(detector, image)) for image in faces_of(clip, weights, 320, num_frames=20, margin=1.0, align=align).images]
        )
        for align in (True, False)
    }
    assert abs(np.mean(tilts[True])) < tolerance
    assert np.mean(tilts[False]) == pytest.approx(angle, abs=5)


def test_boxes_of_every_fifth_frame_are_nearly_as_good_as_of_every_frame(weights: Path, images: list[np.ndarray]) -> None:
    detector = FaceDetector(DetectedFaces(weights=weights))
    every = [largest(detector, image) for image in images[:101]]
    times_s = np.arange(len(every)) / 25
    carried = carry_faces(every[::5], times_s[::5], times_s)
    overlaps = [overlap(one, other) for one, other in zip(every, carried, strict=True) if other is not None]
    assert len(overlaps) == len(every)
    assert min(overlaps) > 0.8


def test_the_detector_sees_every_fifth_frame_and_the_last(clip: Clip, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num_searched = 0
    find = FaceDetector.find

    def count_and_find(detector: FaceDetector, image: np.ndarray) -> list[Face]:
        nonlocal num_searched
        num_searched += 1
        return find(detector, image)

    monkeypatch.setattr(FaceDetector, "find", count_and_find)
    fifth = faces_of(clip, weights, 112, num_frames=23, detect_every=5)
    assert num_searched == 6
    every = faces_of(clip, weights, 112, num_frames=23)
    assert num_searched == 6 + 23
    np.testing.assert_array_equal(fifth.times_s, every.times_s)
    np.testing.assert_array_equal(fifth.images[[0, 5, 20, 22]], every.images[[0, 5, 20, 22]])
    assert difference(fifth.images[1:5], every.images[1:5]) > 0


def test_a_clip_without_a_face(weights: Path, write: Write) -> None:
    clip = write([np.full((120, 160, 3), 90, np.uint8)] * 10)
    frames = faces_of(clip, weights, 64)
    assert frames.images.shape == (0, 64, 64, 3)
    assert frames.times_s.shape == (0,)
    assert frames.no_face_share == 1
    wanted = FrameFormat(64, rate_hz=25.0, faces=DetectedFaces(weights=weights))
    (piece,) = decode_pieces(clip, wanted, MediaLimits(), 0.1)
    assert (len(piece.images), piece.no_face_share) == (0, 1)


def test_frames_without_a_face_are_left_out(images: list[np.ndarray], weights: Path, write: Write) -> None:
    blank = np.full_like(images[0], 120)
    clip = write([*images[:8], *[blank] * 4, *images[8:12]])
    frames = faces_of(clip, weights, 64, rate_hz=25.0)
    assert frames.no_face_share == 0.25
    np.testing.assert_allclose(frames.times_s * 25, [*range(8), *range(12, 16)], atol=0.01)
    pieces = list(decode_pieces(clip, FrameFormat(64, rate_hz=25.0, faces=DetectedFaces(weights=weights)), MediaLimits(), 0.2))
    assert {piece.no_face_share for piece in pieces} == {0.25}
    np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces]), frames.images)
    np.testing.assert_array_equal(np.concatenate([piece.times_s for piece in pieces]), frames.times_s)


def test_turned_and_stretched_pictures_give_the_same_faces(images: list[np.ndarray], weights: Path, write: Write) -> None:
    plain = faces_of(write(images[:40:8]), weights, 112, align=False)
    turned = faces_of(write([np.rot90(image, -1) for image in images[:40:8]], rotation=90), weights, 112, align=False)
    narrow = [cv2.resize(image, (256, 512), interpolation=cv2.INTER_AREA) for image in images[:40:8]]
    stretched = faces_of(write(narrow, pixel_aspect=Fraction(2)), weights, 112, align=False)
    for other in (turned, stretched):
        assert other.images.shape == plain.images.shape
        assert difference(other.images, plain.images) < 12


def test_crops_come_from_the_full_picture(images: list[np.ndarray], weights: Path, write: Write) -> None:
    """A small face in a large picture is as sharp as the picture, not as what the detector has seen."""
    wide = [np.full((1080, 1920, 3), 60, np.uint8) for _ in range(3)]
    for picture, image in zip(wide, images[::20], strict=False):
        picture[400:912, 1200:1712] = image
    small = faces_of(write(wide), weights, 300, num_frames=3, margin=0.0, align=False)
    near = faces_of(write(images[:60:20]), weights, 300, num_frames=3, margin=0.0, align=False)

    def sharpness(frames: Frames) -> float:
        return float(np.mean([cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for image in frames.images]))

    assert sharpness(small) > 0.6 * sharpness(near)


def test_pictures_that_are_not_held_but_decoded_twice_give_the_same(clip: Clip, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = [
        FrameFormat(64, num_frames=12, faces=DetectedFaces(weights=weights, detect_every=3)),
        FrameFormat(48, num_frames=5, faces=DetectedFaces(weights=weights)),
        FrameFormat(32, rate_hz=2.0),
    ]
    held = decode_clip(clip, formats, MediaLimits())
    monkeypatch.setattr(pictures, "_MAX_HELD_BYTES", 0)
    again = decode_clip(clip, formats, MediaLimits())
    for wanted in formats:
        one, other = held[wanted], again[wanted]
        assert isinstance(one, Frames)
        assert isinstance(other, Frames)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.images, decode_clip(clip, [wanted], MediaLimits())[wanted].images)


def test_a_long_clip_in_pieces_within_a_small_budget(clip: Clip, weights: Path) -> None:
    wanted = FrameFormat(224, rate_hz=12.5, faces=DetectedFaces(weights=weights, detect_every=10))
    whole = decode_clip(clip, [wanted], MediaLimits())[wanted]
    assert isinstance(whole, Frames)
    pieces = list(decode_pieces(clip, wanted, MediaLimits(max_decoded_mb=6), 2.0))
    assert [len(piece.images) for piece in pieces] == [25] * 4
    np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces]), whole.images)
