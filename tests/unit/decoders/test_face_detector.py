from pathlib import Path

import numpy as np
import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.core.faces import KNOWN_DETECTORS, DetectedFaces
from mer_ray.decoders.face_detector import FaceDetector, load_detector


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer (short ones only)."""
    return bytes([number << 3, content]) if isinstance(content, int) else bytes([number << 3 | 2, len(content)]) + content


def foreign_network() -> bytes:
    """A whole ONNX model that gives back its input."""
    dims = b"".join(field(1, field(1, size)) for size in (1, 3, 64, 64))

    def value(name: bytes) -> bytes:
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    node = field(1, b"in") + field(2, b"out") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"g") + field(11, value(b"in")) + field(12, value(b"out"))
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13))


def test_a_missing_detector_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no file .*absent.onnx; download a YuNet detector, one of: https://.*yunet_n_dynamic.onnx \(Apache-2.0\)"
    ):
        load_detector(DetectedFaces(weights=tmp_path / "absent.onnx"))


@pytest.mark.parametrize("content", [b"", b"no network", foreign_network()])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other.onnx is not a face detector that cv2.FaceDetectorYN can run"):
        load_detector(DetectedFaces(weights=path))


@pytest.mark.parametrize("name", ["yunet_n_dynamic.onnx", "yunet_n_320_320.onnx"])
def test_known_files_are_known(shared_data: Path, name: str) -> None:
    faces = DetectedFaces(weights=shared_data / "models" / name)
    assert KNOWN_DETECTORS[faces.digest()].source.endswith(name)
    assert faces.licence == "Apache-2.0"


def test_a_detector_is_loaded_once_and_its_results_do_not_depend_on_what_it_saw_before(shared_data: Path) -> None:
    faces = DetectedFaces(weights=shared_data / "models/yunet_n_dynamic.onnx", min_score=0.1)
    assert load_detector(faces) is load_detector(faces)
    random = np.random.default_rng(0)
    wide, tall = (random.integers(0, 255, shape, dtype=np.uint8) for shape in ((120, 333, 3), (301, 90, 3)))
    used = load_detector(faces)
    for image in (wide, tall, wide):
        again, fresh = used.find(image), FaceDetector(faces).find(image)
        assert [one.box.tolist() for one in again] == [one.box.tolist() for one in fresh]
