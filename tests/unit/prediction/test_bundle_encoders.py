"""A bundle's encoders on a machine where their files lie elsewhere."""

import shutil
from types import SimpleNamespace

import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.encoders import encoder_identity, encoder_key
from mer_ray.encoders.manet import ManetConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.prediction.bundle_encoders import bundle_encoders
from mer_ray.store.record import EncoderRecord


def bundle_of(folder, *records):
    return SimpleNamespace(folder=folder, facts=SimpleNamespace(encoders={record.key: record for record in records}))


@pytest.fixture
def spectral():
    config = SpectralConfig()
    layers = {"energy": 12}
    return EncoderRecord(
        name="spectral",
        key=encoder_key(config),
        identity=encoder_identity(config),
        config=config.model_dump(mode="json"),
        modality="audio",
        layers=layers,
    )


def test_an_encoder_without_weights_takes_none(spectral, tmp_path):
    assert list(bundle_encoders(bundle_of(tmp_path, spectral), {}, (), False)) == [spectral.key]
    with pytest.raises(ConfigError, match=r"weights\.spectral: that encoder reads no weights\. Allowed: none"):
        bundle_encoders(bundle_of(tmp_path, spectral), {"spectral": "here"}, (), False)
    with pytest.raises(ConfigError, match=r"weights\.faces: the bundle has no such encoder; it has spectral@"):
        bundle_encoders(bundle_of(tmp_path, spectral), {"faces": "here"}, (), False)


def test_network_and_face_detector_may_lie_elsewhere(tmp_path):
    """Both paths in the record are those of the machine that trained."""
    for name in ("there", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manet.safetensors").write_bytes(b"a network")
        (tmp_path / name / "yunet.onnx").write_bytes(b"a detector")
    faces = {"name": "yunet", "weights": str(tmp_path / "there" / "yunet.onnx")}
    config = ManetConfig.model_validate({"weights": str(tmp_path / "there" / "manet.safetensors"), "faces": faces})
    record = EncoderRecord(
        name="manet",
        key=encoder_key(config),
        identity=encoder_identity(config),
        config=config.model_dump(mode="json"),
        modality="vision",
        layers={"last": 4},
        detects_faces=True,
    )
    shutil.rmtree(tmp_path / "there")
    given = {"manet": str(tmp_path / "here" / "manet.safetensors"), "faces": str(tmp_path / "here" / "yunet.onnx")}
    (found,) = bundle_encoders(bundle_of(tmp_path, record), given, (), False).values()
    assert str(found.weights) == given["manet"] and str(found.faces.weights) == given["faces"]
