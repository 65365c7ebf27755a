from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from mer_ray.core.config import identity_fields
from mer_ray.core.errors import ConfigError
from mer_ray.core.faces import DetectedFaces, FaceSource, StoredFaces
from mer_ray.core.media_types import FrameFormat


def test_where_the_detector_lies_is_no_identity_but_how_faces_are_cut_is(tmp_path: Path) -> None:
    here, there = (DetectedFaces(weights=tmp_path / name / "yunet.onnx") for name in ("a", "b"))
    assert identity_fields(here) == identity_fields(there)
    assert identity_fields(here) != identity_fields(DetectedFaces(weights=here.weights, margin=0.5))
    assert "weights" not in identity_fields(here)


def test_a_format_with_faces_is_a_key(tmp_path: Path) -> None:
    faces = DetectedFaces(weights=tmp_path / "yunet.onnx")
    formats = {FrameFormat(112, 8), FrameFormat(112, 8, faces=faces), FrameFormat(112, 8, faces=StoredFaces())}
    assert len(formats) == 3
    assert FrameFormat(112, 8, faces=DetectedFaces(weights=tmp_path / "yunet.onnx")) in formats


def test_the_name_says_which_kind(tmp_path: Path) -> None:
    adapter: TypeAdapter[FaceSource] = TypeAdapter(FaceSource)
    assert adapter.validate_python({"name": "crops"}) == StoredFaces(channels="bgr")
    assert isinstance(adapter.validate_python({"name": "yunet", "weights": str(tmp_path / "y.onnx")}), DetectedFaces)
    for wrong in ({"name": "yunet"}, {"name": "openface"}, {"name": "yunet", "weights": "y.onnx", "detect_every": 0}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_the_detector_is_known_by_its_content(tmp_path: Path) -> None:
    faces = DetectedFaces(weights=tmp_path / "own.onnx")
    with pytest.raises(ConfigError, match=r"faces\.weights: no file .*own\.onnx; download"):
        faces.digest()
    faces.weights.write_bytes(b"one")
    before = faces.digest()
    assert faces.licence == "unknown"
    faces.weights.write_bytes(b"other")
    assert faces.digest() != before
