import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from speech_models import save_small_speech

from mer_ray.core.config import identity_fields
from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders import Encoder, encoder_identity
from mer_ray.encoders.hubert import HubertEncoderConfig

SAMPLE_RATE_HZ = 16_000


def save_hubert(folder: Path, norm: str = "layer", **options: Any) -> Path:
    return save_small_speech(folder, "hubert", norm, num_hidden_layers=3, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_hubert(tmp_path_factory.mktemp("weights") / "hubert")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The same weights, free to be broken."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def noise(seconds: float, seed: int = 0) -> FloatArray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)


def sound(seconds: float, seed: int = 0) -> Audio:
    return Audio(noise(seconds, seed), SAMPLE_RATE_HZ)


def build(folder: Path, **fields: object) -> Encoder:
    return HubertEncoderConfig.model_validate({"weights": str(folder), **fields}).build("cpu")


def test_do_normalize_makes_features_independent_of_gain(tmp_path: Path) -> None:
    quiet = noise(0.5)
    for do_normalize in (True, False):
        encoder = build(save_hubert(tmp_path / str(do_normalize), "layer", do_normalize=do_normalize))
        first, second = encoder.encode([Audio(quiet, SAMPLE_RATE_HZ), Audio(np.float32(3) * quiet + np.float32(0.05), SAMPLE_RATE_HZ)])
        difference = np.abs(first.mean["layer_0"] - second.mean["layer_0"]).max()
        assert difference < 1e-4 if do_normalize else difference > 1e-3


def test_too_short_a_sound_says_the_minimum(folder: Path) -> None:
    encoder = build(folder)
    with pytest.raises(EncoderError, match=r"has 399 samples; at least 400 \(25 ms at 16 kHz\)"):
        encoder.encode([sound(1.0), Audio(noise(1.0)[:399], SAMPLE_RATE_HZ)])
    assert encoder.encode([Audio(noise(1.0)[:400], SAMPLE_RATE_HZ)])[0].num_frames == 1


def test_a_missing_folder_says_what_is_needed(tmp_path: Path) -> None:
    config = HubertEncoderConfig(weights=str(tmp_path / "nowhere"))
    with pytest.raises(EncoderError, match=r"nowhere: no such folder; give a folder with config.json, .*or a hub id"):
        config.build("cpu")
    with pytest.raises(EncoderError, match="no such folder"):
        encoder_identity(config)


def test_a_hub_id_without_network_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match=r"weights nobody/hubert-tiny: .*hf download nobody/hubert-tiny --local-dir FOLDER"):
        HubertEncoderConfig(weights="nobody/hubert-tiny").build("cpu")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_names_it(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(EncoderError, match=f"lacks {'.*safetensors' if name.endswith('safetensors') else name}"):
        build(copy)


def test_another_kind_of_model_is_refused(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"model_type": "wav2vec2"}))
    with pytest.raises(EncoderError, match="model_type 'wav2vec2'; encoder hubert reads 'hubert'"):
        build(copy)


def test_weights_with_holes_are_refused_not_filled_at_random(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["encoder.layers.1.attention.q_proj.weight"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=r"1 tensors of the model are missing, e\.g\. encoder\.layers\.1\.attention\.q_proj\.weight"):
        build(copy)


def test_broken_weights_are_refused(copy: Path) -> None:
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(EncoderError, match=r"cannot be loaded .*download them again"):
        build(copy)


def test_a_legacy_checkpoint_is_read_and_code_in_it_is_not_run(copy: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (copy / "sprung",))

    expected = build(copy).encode([sound(0.5)])[0].mean["layer_3"]
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(tensors, copy / "pytorch_model.bin")
    assert np.array_equal(build(copy).encode([sound(0.5)])[0].mean["layer_3"], expected)
    torch.save({**tensors, "trap": Trap()}, copy / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        build(copy)
    assert not (copy / "sprung").exists()


def test_the_identity_follows_weights_and_settings_but_no_path(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, moved = (HubertEncoderConfig(weights=str(place)) for place in (folder, copy))
    assert encoder_identity(original) == encoder_identity(moved)
    assert "weights" not in identity_fields(original)
    monkeypatch.chdir(folder.parent)
    assert HubertEncoderConfig(weights="hubert").weights == str(folder)

    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(settings | {"do_normalize": False}))
    without_normalisation = encoder_identity(moved)
    tensors = load_file(copy / "model.safetensors")
    tensors["encoder.layer_norm.bias"] += 1
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    assert len({encoder_identity(original), without_normalisation, encoder_identity(moved)}) == 3


def test_the_licence_is_that_of_the_model_card(folder: Path, copy: Path) -> None:
    assert HubertEncoderConfig(weights=str(folder)).licence == "unknown"
    (copy / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert HubertEncoderConfig(weights=str(copy)).licence == "apache-2.0"
