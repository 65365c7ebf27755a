"""LoRA adapters as peft writes them, merged into a speech network."""

import json
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from speech_models import save_small_speech

from mer_ray.core.errors import EncoderError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders import encoder_identity
from mer_ray.encoders.hubert import HubertEncoderConfig

# peft 0.21 asks transformers 5.23 by a name that is going away.

SAMPLES: FloatArray = 0.1 * np.random.default_rng(0).standard_normal(12_000).astype(np.float32)
CLIP = Audio(SAMPLES, 16_000)
LAYERS = ("layer_0", "layer_1", "layer_2")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_speech(tmp_path_factory.mktemp("weights"), "hubert", do_normalize=False)


def adapt(weights: Path, folder: Path, seed: int = 0) -> peft.PeftModel:
    """An adapter that does something: a fresh one adds zero."""
    torch.manual_seed(seed)
    base = transformers.HubertModel.from_pretrained(weights).eval()
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "output_dense"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder)
    return adapted.eval()


def test_features_are_those_of_the_adapted_model(weights: Path, tmp_path: Path) -> None:
    adapted = adapt(weights, tmp_path / "adapter")
    plain = HubertEncoderConfig(weights=str(weights), sequences=LAYERS)
    config = plain.model_copy(update={"adapter": tmp_path / "adapter"})
    features, without = (one.build("cpu").encode([CLIP])[0] for one in (config, plain))
    with torch.no_grad():
        expected = adapted(torch.from_numpy(SAMPLES)[None]).last_hidden_state[0].numpy()
    scale = np.abs(expected).max()
    assert np.abs(features.sequences["layer_2"] - expected).max() < 1e-5 * scale
    assert np.abs(features.sequences["layer_2"] - without.sequences["layer_2"]).max() > 1e-2 * scale
    assert np.array_equal(features.sequences["layer_0"], without.sequences["layer_0"])


def test_an_adapter_of_a_model_with_a_head_fits(weights: Path, tmp_path: Path) -> None:
    """Most are trained on one, e.g. HubertForCTC or AutoModelForCausalLM, in which the network has a name of its own."""
    adapt(weights, tmp_path / "alone")
    tensors = load_file(tmp_path / "alone" / "adapter_model.safetensors")
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "adapter_config.json").write_text((tmp_path / "alone" / "adapter_config.json").read_text())
    named = {name.replace("base_model.model.", "base_model.model.hubert.", 1): tensor for name, tensor in tensors.items()}
    save_file(named, tmp_path / "head" / "adapter_model.safetensors")
    found, expected = (
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / name).build("cpu").encode([CLIP])[0] for name in ("head", "alone")
    )
    for layer in LAYERS:
        assert np.array_equal(found.mean[layer], expected.mean[layer])
    extra = {**named, "base_model.model.hubert.encoder.layers.9.attention.q_proj.lora_A.weight": torch.zeros(4, 32)}
    save_file(extra, tmp_path / "head" / "adapter_model.safetensors")
    with pytest.raises(EncoderError, match=r"no place for 1 of its tensors, e\.g\. base_model\.model\.hubert\.encoder\.layers\.9"):
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "head").build("cpu")


def test_the_identity_follows_the_adapter_not_its_folder(weights: Path, tmp_path: Path) -> None:
    for folder, seed in (("first", 0), ("moved", 0), ("other", 1)):
        adapt(weights, tmp_path / folder, seed)
    plain, first, moved, other = (
        encoder_identity(HubertEncoderConfig(weights=str(weights), adapter=tmp_path / folder if folder else None))
        for folder in ("", "first", "moved", "other")
    )
    assert first == moved
    assert len({plain, first, other}) == 3


def test_a_folder_without_an_adapter_says_what_it_lacks(weights: Path, tmp_path: Path) -> None:
    for name in ("nowhere", "empty"):
        if name == "empty":
            (tmp_path / name).mkdir()
        config = HubertEncoderConfig(weights=str(weights), adapter=tmp_path / name)
        with pytest.raises(EncoderError, match=rf"adapter .*{name}: lacks adapter_config.json, adapter_model.safetensors; give a folder"):
            config.build("cpu")


def test_an_adapter_of_a_wider_model_is_refused(weights: Path, tmp_path: Path) -> None:
    wider = save_small_speech(tmp_path / "wider", "hubert", hidden_size=48)
    adapt(wider, tmp_path / "adapter")
    with pytest.raises(EncoderError, match=r"adapter .*: does not fit the model .*give one that was trained on these weights"):
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "adapter").build("cpu")


def test_an_adapter_of_other_modules_is_refused(weights: Path, tmp_path: Path) -> None:
    adapt(weights, tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings | {"target_modules": ["gate_proj"]}))
    with pytest.raises(EncoderError, match=r"does not fit the model .*gate_proj"):
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "adapter").build("cpu")


def test_an_adapter_with_holes_is_refused_not_left_at_random(weights: Path, tmp_path: Path) -> None:
    adapt(weights, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors[next(name for name in tensors if "lora_B" in name)]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(EncoderError, match=r"does not fit the model .*missing adapter keys"):
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "adapter").build("cpu")


def test_an_adapter_of_more_blocks_than_are_loaded_is_refused(weights: Path, tmp_path: Path) -> None:
    deeper = save_small_speech(tmp_path / "deeper", "hubert", num_hidden_layers=3)
    adapt(deeper, tmp_path / "adapter")
    with pytest.raises(EncoderError, match=r"no place for 6 of its tensors, e\.g\. base_model\.model\.encoder\.layers\.2\."):
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "adapter").build("cpu")


def test_num_layers_leaves_out_the_upper_blocks_of_the_adapter_too(tmp_path: Path) -> None:
    weights = save_small_speech(tmp_path / "weights", "hubert", do_normalize=False, num_hidden_layers=3)
    adapted = adapt(weights, tmp_path / "adapter")
    config = HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "adapter", num_layers=2, sequences=("layer_2",))
    features = config.build("cpu").encode([CLIP])[0]
    encoder = adapted.base_model.model.encoder
    encoder.layers = encoder.layers[:2]
    with torch.no_grad():
        expected = adapted(torch.from_numpy(SAMPLES)[None]).last_hidden_state[0].numpy()
    assert np.abs(features.sequences["layer_2"] - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_broken_adapter_is_refused(weights: Path, tmp_path: Path) -> None:
    adapt(weights, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(EncoderError, match="does not fit the model"):
        HubertEncoderConfig(weights=str(weights), adapter=tmp_path / "adapter").build("cpu")
