from pathlib import Path

import fsspec
import numpy as np
import pytest

from mer_ray.core.errors import MediaError
from mer_ray.core.faces import StoredFaces
from mer_ray.core.media_types import Clip, EncoderInput, FrameFormat, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits

EVERY_FOURTH = FrameFormat(112, num_frames=5, faces=StoredFaces())


def write_crops(path: Path, num_images: int = 20, side: int = 112) -> Path:
    """Picture k is k blue, 100 green and 200 red, written in BGR as MERTools does."""
    images = np.empty((num_images, side, side, 3), np.uint8)
    images[..., 0] = np.arange(num_images)[:, None, None]
    images[..., 1:] = 100, 200
    np.save(path, images)
    return path


def decode(path: Path | str | None, wanted: FrameFormat, limits: MediaLimits | None = None, **of_clip: object) -> EncoderInput | None:
    clip = Clip("clip", faces_path=None if path is None else str(path), **{"duration_s": 2.0, **of_clip})
    return decode_clip(clip, [wanted], limits or MediaLimits())[wanted]


def as_frames(decoded: EncoderInput | None) -> Frames:
    assert isinstance(decoded, Frames)
    return decoded


def test_pictures_are_spread_evenly_and_in_rgb(tmp_path: Path) -> None:
    frames = as_frames(decode(write_crops(tmp_path / "a.npy"), EVERY_FOURTH))
    assert frames.images.shape == (5, 112, 112, 3)
    assert frames.images[:, 50, 50].tolist() == [[200, 100, number] for number in (2, 6, 10, 14, 18)]
    np.testing.assert_allclose(frames.times_s, [0.2, 0.6, 1.0, 1.4, 1.8])
    assert frames.no_face_share is None


def test_channels_as_they_are_where_the_corpus_has_rgb(tmp_path: Path) -> None:
    frames = as_frames(decode(write_crops(tmp_path / "a.npy"), FrameFormat(112, num_frames=5, faces=StoredFaces(channels="rgb"))))
    assert frames.images[1, 50, 50].tolist() == [6, 100, 200]


def test_a_rate_counts_by_the_duration_of_the_clip(tmp_path: Path) -> None:
    wanted = FrameFormat(56, rate_hz=4.0, faces=StoredFaces())
    path = write_crops(tmp_path / "a.npy")
    assert as_frames(decode(path, wanted)).images[:, 20, 20, 2].tolist() == [1, 3, 6, 8, 11, 13, 16, 18]
    assert len(as_frames(decode(path, wanted, duration_s=None, start_s=3.0, end_s=4.0)).images) == 4


def test_pictures_that_are_no_squares_are_cut_or_letterboxed(tmp_path: Path) -> None:
    images = np.zeros((3, 60, 120, 3), np.uint8)
    images[:, :, 30:90] = 250
    np.save(tmp_path / "a.npy", images)
    cut = as_frames(decode(tmp_path / "a.npy", FrameFormat(60, num_frames=1, faces=StoredFaces())))
    assert cut.images.min() == 250
    whole = as_frames(decode(tmp_path / "a.npy", FrameFormat(60, num_frames=1, crop="whole", faces=StoredFaces())))
    assert whole.images[0, 30, 30].tolist() == [250] * 3
    assert whole.images[0, 5].max() == 0


def test_no_file_is_a_lacking_modality_and_no_picture_a_clip_without_faces(tmp_path: Path) -> None:
    assert decode(None, EVERY_FOURTH) is None
    empty = as_frames(decode(write_crops(tmp_path / "a.npy", 0), EVERY_FOURTH))
    assert empty.images.shape == (0, 112, 112, 3)
    assert len(empty.times_s) == 0


def test_the_video_is_read_in_the_same_call_for_other_formats(tmp_path: Path) -> None:
    clip = Clip("clip", path=str(tmp_path / "absent.mp4"), faces_path=str(write_crops(tmp_path / "a.npy")), duration_s=2.0)
    with pytest.raises(MediaError, match=r"absent\.mp4"):
        decode_clip(clip, [EVERY_FOURTH, FrameFormat(32, num_frames=2)], MediaLimits())
    assert len(as_frames(decode_clip(clip, [EVERY_FOURTH], MediaLimits())[EVERY_FOURTH]).images) == 5


def test_what_is_no_array_of_pictures_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "archive.npy.npz", np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "floats.npy", np.zeros((2, 8, 8, 3), np.float32))
    np.save(tmp_path / "grey.npy", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").touch()
    whole = write_crops(tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[: len(whole) // 2])
    reasons = {
        "archive.npy.npz": "an archive of several arrays",
        "objects.npy": "not an array that can be read",
        "floats.npy": r"an array of \(2, 8, 8, 3\) float32",
        "grey.npy": r"an array of \(2, 8, 8\) uint8",
        "text.npy": "not an array that can be read",
        "empty.npy": "the file is empty",
        "cut.npy": "not an array that can be read",
        "absent.npy": "no such file",
        "": "a folder where",
    }
    for name, reason in reasons.items():
        with pytest.raises(MediaError, match=f"{name}.*{reason}"):
            decode(tmp_path / name, EVERY_FOURTH)


@pytest.mark.parametrize(
    "header", [b"{'descr': '|u1', 'shape': (2, 1", b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8, 8, 3)}"]
)
def test_a_damaged_header_is_refused(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 500)
    with pytest.raises(MediaError, match=r"a\.npy: not an array that can be read"):
        decode(tmp_path / "a.npy", EVERY_FOURTH)


def test_an_unknown_duration_is_said(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.npy: the clip's duration is unknown"):
        decode(write_crops(tmp_path / "a.npy"), EVERY_FOURTH, duration_s=None)


def test_the_limits_hold(tmp_path: Path) -> None:
    path = write_crops(tmp_path / "a.npy", 40)
    with pytest.raises(MediaError, match="max_decoded_mb=1"):
        decode(path, FrameFormat(112, num_frames=40, faces=StoredFaces()), MediaLimits(max_decoded_mb=1))
    with pytest.raises(MediaError, match="max_frame_pixels=100"):
        decode(path, EVERY_FOURTH, MediaLimits(max_frame_pixels=100))


def test_crops_on_s3(tmp_path: Path, s3_bucket: str) -> None:
    path = write_crops(tmp_path / "a.npy")
    fsspec.filesystem("s3").put(str(path), f"{s3_bucket}/a.npy")
    remote = as_frames(decode(f"{s3_bucket}/a.npy", EVERY_FOURTH))
    np.testing.assert_array_equal(remote.images, as_frames(decode(path, EVERY_FOURTH)).images)
    with pytest.raises(MediaError, match=f"{s3_bucket}/absent.npy"):
        decode(f"{s3_bucket}/absent.npy", EVERY_FOURTH)
