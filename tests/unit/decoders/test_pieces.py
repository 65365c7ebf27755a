"""A clip in pieces is the clip: the same pictures at the same times, the same samples."""

from pathlib import Path

import numpy as np
import pytest
from media_factory import moving_noise, noise, write_media

from mer_ray.core.errors import MediaError
from mer_ray.core.faces import StoredFaces
from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.pieces import decode_pieces

FORMATS = [FrameFormat(48, rate_hz=25.0), FrameFormat(48, rate_hz=7.0), FrameFormat(48, num_frames=11), FrameFormat(32, 3, crop="whole")]


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.mp4", "libx264", {"g": "20", "bf": "2"}),
    ("a.mov", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
    ("a.avi", "mpeg4", {"bf": "2", "g": "10"}),
])  # fmt: skip
@pytest.mark.parametrize("segment", [{}, {"start_s": 0.7, "end_s": 2.3}])
def test_pictures(tmp_path: Path, name: str, codec: str, options: dict[str, str], segment: dict[str, float]) -> None:
    path = write_media(tmp_path / name, moving_noise(70), video_codec=codec, video_options=options)
    clip = Clip("clip", path=str(path), **segment)
    for wanted in FORMATS:
        whole = decode_clip(clip, [wanted], MediaLimits())[wanted]
        assert isinstance(whole, Frames)
        pieces = list(decode_pieces(clip, wanted, MediaLimits(), 0.5))
        assert len(pieces) > 1
        assert len({len(piece.images) for piece in pieces[:-1]}) == 1
        assert all(np.ptp(piece.times_s) < 0.7 and len(piece.images) for piece in pieces)
        np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces]), whole.images)
        np.testing.assert_array_equal(np.concatenate([piece.times_s for piece in pieces]), whole.times_s)


@pytest.mark.parametrize(
    ("codec", "rate_hz", "wanted_hz"), [("pcm_s16le", 44100, 16000), ("pcm_s16le", 16000, 16000), ("pcm_s16le", 11025, 16000)]
)
def test_sound(tmp_path: Path, codec: str, rate_hz: int, wanted_hz: int) -> None:
    path = write_media(tmp_path / "a.wav", sound=noise(2.3, rate_hz), rate_hz=rate_hz, audio_codec=codec)
    clip, wanted = Clip("clip", path=str(path)), AudioFormat(wanted_hz)
    whole = decode_clip(clip, [wanted], MediaLimits())[wanted]
    assert isinstance(whole, Audio)
    pieces = list(decode_pieces(clip, wanted, MediaLimits(), 0.5))
    assert [len(piece.samples) for piece in pieces[:-1]] == [8000] * 4
    assert {piece.sample_rate_hz for piece in pieces} == {16000}
    np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces]), whole.samples)


def test_crops_that_the_corpus_ships(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (30, 20, 20, 3), dtype=np.uint8))
    clip, wanted = Clip("clip", faces_path=str(tmp_path / "a.npy"), duration_s=3.0), FrameFormat(20, rate_hz=5.0, faces=StoredFaces())
    whole = decode_clip(clip, [wanted], MediaLimits())[wanted]
    assert isinstance(whole, Frames)
    pieces = list(decode_pieces(clip, wanted, MediaLimits(), 1.0))
    assert [len(piece.images) for piece in pieces] == [5, 5, 5]
    np.testing.assert_array_equal(np.concatenate([piece.images for piece in pieces]), whole.images)
    np.testing.assert_array_equal(np.concatenate([piece.times_s for piece in pieces]), whole.times_s)


def test_a_lacking_modality_has_no_pieces(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=noise(1.0), audio_codec="pcm_s16le")
    assert list(decode_pieces(Clip("clip", path=str(path)), FORMATS[0], MediaLimits(), 0.5)) == []
    assert list(decode_pieces(Clip("clip"), AudioFormat(16000), MediaLimits(), 0.5)) == []
    assert list(decode_pieces(Clip("clip"), FrameFormat(20, 3, faces=StoredFaces()), MediaLimits(), 0.5)) == []


def test_more_frames_than_fit_into_the_budget_come_in_pieces_that_do(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", moving_noise(60), video_options={"crf": "40"})
    clip, wanted, limits = Clip("clip", path=str(path)), FrameFormat(160, rate_hz=25.0), MediaLimits(max_decoded_mb=1)
    with pytest.raises(MediaError, match="max_decoded_mb=1"):
        decode_clip(clip, [wanted], limits)
    assert sum(len(piece.images) for piece in decode_pieces(clip, wanted, limits, 0.2)) == 60
    with pytest.raises(MediaError, match="max_decoded_mb=1"):
        list(decode_pieces(clip, wanted, limits, 2.0))


def test_a_broken_file_is_an_error_when_the_pieces_are_read(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"absent\.mp4: no such file"):
        list(decode_pieces(Clip("clip", path=str(tmp_path / "absent.mp4")), FORMATS[0], MediaLimits(), 0.5))
