"""HuBERT, wav2vec 2.0 and WavLM against transformers' own eager attention, whole, truncated and in windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from speech_models import FAMILIES, save_small_speech

from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders._clip_group_norm import ClipGroupNorm
from mer_ray.encoders._speech_conv import ConvSpeechConfig, ConvSpeechEncoder
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.wav2vec2 import Wav2Vec2EncoderConfig
from mer_ray.encoders.wavlm import WavLMEncoderConfig

SAMPLE_RATE_HZ = 16_000
CONFIGS: dict[str, type[ConvSpeechConfig]] = {
    "hubert": HubertEncoderConfig,
    "wav2vec2": Wav2Vec2EncoderConfig,
    "wavlm": WavLMEncoderConfig,
}
BUILDS = [("layer", True), ("layer", False), ("group", False)]


def sound(seconds: float, seed: int = 0) -> Audio:
    noise: FloatArray = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)
    return Audio(noise, SAMPLE_RATE_HZ)


def configure(folder: Path, family: str, **fields: Any) -> ConvSpeechConfig:
    return CONFIGS[family].model_validate({"weights": str(folder), **fields})


def published(folder: Path, family: str) -> Any:
    return FAMILIES[family][1].from_pretrained(folder, attn_implementation="eager").eval()


def hear(model: Any, samples: FloatArray) -> FloatArray:
    with torch.no_grad():
        output: FloatArray = model(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()
    return output


def assert_close(found: FloatArray, expected: FloatArray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(("norm", "stable"), BUILDS)
def test_layers_are_the_inputs_of_the_blocks_and_the_models_output(tmp_path: Path, family: str, norm: str, stable: bool) -> None:
    folder = save_small_speech(tmp_path, family, norm, stable=stable, do_normalize=False)
    config = configure(folder, family, sequences=("layer_0", "layer_1", "layer_2"))
    clip = sound(1.0)
    # Beside a longer one, so that padding and mask are at work.
    encoder = config.build("cpu")
    features = encoder.encode([sound(1.7, 1), clip])[1]
    assert isinstance(encoder, ConvSpeechEncoder)
    assert family == "wavlm" or encoder.model.config._attn_implementation == "sdpa"

    model = published(folder, family)
    states: list[torch.Tensor] = []
    for block in model.encoder.layers:
        block.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0][0]))
    states.append(torch.from_numpy(hear(model, clip.samples)))
    assert len(states) == 3
    for number, state_TD in enumerate(states):
        expected = state_TD.numpy()
        assert_close(features.sequences[f"layer_{number}"], expected)
        assert_close(features.mean[f"layer_{number}"], expected.mean(axis=0))
        assert_close(features.std[f"layer_{number}"], expected.std(axis=0))
    assert (features.num_frames, features.frame_s) == (len(states[0]), 0.02)


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(("norm", "stable"), BUILDS)
def test_num_layers_gives_what_the_model_without_its_upper_blocks_gives(tmp_path: Path, family: str, norm: str, stable: bool) -> None:
    folder = save_small_speech(tmp_path, family, norm, stable=stable, do_normalize=False, num_hidden_layers=4)
    config = configure(folder, family, num_layers=2, sequences=("layer_1", "layer_2"))
    encoder = config.build("cpu")
    assert isinstance(encoder, ConvSpeechEncoder)
    assert list(config.layers()) == ["layer_0", "layer_1", "layer_2"]
    assert len(encoder.model.encoder.layers) == 2
    clip = sound(0.6)
    features = encoder.encode([clip])[0]

    whole = configure(folder, family, sequences=("layer_1", "layer_2")).build("cpu").encode([clip])[0]
    truncated = published(folder, family)
    truncated.encoder.layers = truncated.encoder.layers[:2]
    assert_close(features.sequences["layer_2"], hear(truncated, clip.samples))
    assert_close(features.sequences["layer_1"], whole.sequences["layer_1"])
    # The final norm of these models follows the last block that is left.
    has_final_norm = not np.allclose(features.sequences["layer_2"], whole.sequences["layer_2"], atol=1e-3)
    assert has_final_norm == stable


def test_more_blocks_than_there_are_is_refused(tmp_path: Path) -> None:
    config = configure(save_small_speech(tmp_path, "wav2vec2"), "wav2vec2", num_layers=12)
    with pytest.raises(ConfigError, match=r"num_layers 12: the weights .* have 2 blocks"):
        config.build("cpu")


def test_weights_count_in_the_compute_type_and_without_what_is_not_loaded(tmp_path: Path) -> None:
    folder = save_small_speech(tmp_path, "wav2vec2", num_hidden_layers=4)
    whole = sum(parameter.numel() for parameter in published(folder, "wav2vec2").parameters())
    assert configure(folder, "wav2vec2").num_weight_bytes() == 4 * whole
    assert configure(folder, "wav2vec2", compute="bf16").num_weight_bytes() == 2 * whole
    encoder = configure(folder, "wav2vec2", num_layers=1).build("cpu")
    assert isinstance(encoder, ConvSpeechEncoder)
    loaded = sum(parameter.numel() for parameter in encoder.model.parameters())
    assert configure(folder, "wav2vec2", num_layers=1).num_weight_bytes() == 4 * loaded


@pytest.mark.parametrize("family", CONFIGS)
def test_published_sizes_are_those_of_the_architecture(family: str) -> None:
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    norms = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": family != "wavlm"}
    config_class, model_class = FAMILIES[family]
    # Files of wav2vec 2.0 hold its training heads too.
    model_class = transformers.Wav2Vec2ForPreTraining if family == "wav2vec2" else model_class
    with torch.device("meta"):
        sizes = {
            architecture.hidden_size: sum(parameter.numel() for parameter in model_class(architecture).parameters())
            for architecture in (config_class(), config_class(**large, **norms, codevector_dim=768, proj_codevector_dim=768))
        }
    for checkpoint in CONFIGS[family].checkpoints:
        assert checkpoint.num_parameters == sizes[checkpoint.dim], checkpoint.weights
        assert checkpoint.num_layers == {768: 12, 1024: 24}[checkpoint.dim]


def test_convolutions_that_fine_tuning_added_after_the_transformer_are_left_out(tmp_path: Path) -> None:
    folder = save_small_speech(tmp_path, "wav2vec2", do_normalize=False, add_adapter=True)
    clip = sound(0.5)
    features = configure(folder, "wav2vec2", sequences=("layer_2",)).build("cpu").encode([clip])[0]
    model = published(folder, "wav2vec2")
    model.adapter = None
    assert_close(features.sequences["layer_2"], hear(model, clip.samples))


@pytest.mark.parametrize("family", CONFIGS)
def test_a_long_sound_goes_through_in_windows_and_keeps_its_frames(tmp_path: Path, family: str) -> None:
    folder = save_small_speech(tmp_path, family, "layer", num_conv_pos_embeddings=3)
    clip = sound(5.0)
    config = configure(folder, family, window_s=2.0, overlap_s=0.5, sequences=("layer_0", "layer_2"))
    whole = configure(folder, family, sequences=("layer_0", "layer_2")).build("cpu").encode([clip])[0]
    encoder = config.build("cpu")
    assert isinstance(encoder, ConvSpeechEncoder)
    lengths: list[int] = []
    encoder.model.encoder.layers[0].register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[1]))
    features = encoder.encode([clip])[0]
    assert max(lengths) == 100
    assert features.num_frames == whole.num_frames == 249
    # The convolutions hear the same samples at the same places: what stands before the first block is the whole sound's.
    difference = np.abs(features.sequences["layer_0"] - whole.sequences["layer_0"])
    assert difference.max() < 1e-4
    for layer in ("layer_0", "layer_2"):
        frames_TD = features.sequences[layer]
        assert frames_TD.shape == whole.sequences[layer].shape
        assert features.mean[layer] == pytest.approx(frames_TD.mean(axis=0), abs=1e-5)
        assert features.std[layer] == pytest.approx(frames_TD.std(axis=0), abs=1e-5)


def test_windows_of_many_clips_share_batches(tmp_path: Path) -> None:
    folder = save_small_speech(tmp_path, "hubert")
    encoder = configure(folder, "hubert", window_s=1.0, overlap_s=0.2, max_batch_s=4.0).build("cpu")
    assert isinstance(encoder, ConvSpeechEncoder)
    rows: list[int] = []
    encoder.model.encoder.layers[0].register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0].shape[0]))
    encoder.encode([sound(2.5, 0), sound(0.9, 1), sound(1.7, 2), sound(0.5, 3)])
    # Three windows of the first clip, two of the third, and the two clips that fit.
    assert rows == [3, 3, 1]
    real, padded = encoder.padding()
    assert (real, padded) == (5 * 16_080 + 14_400 + 8_000, 6 * 16_080 + 8_000)


def test_batches_stay_within_their_seconds_and_change_nothing(tmp_path: Path) -> None:
    folder = save_small_speech(tmp_path, "hubert")
    clips = [sound(seconds, number) for number, seconds in enumerate((0.5, 2.0, 0.7, 1.1, 3.0))]
    encoder = configure(folder, "hubert", max_batch_s=3.0).build("cpu")
    assert isinstance(encoder, ConvSpeechEncoder)
    rows: list[int] = []
    encoder.model.encoder.layers[0].register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0].shape[0]))
    together = encoder.encode(clips)
    assert rows == [1, 1, 2, 1]
    for small, large in zip(together, configure(folder, "hubert").build("cpu").encode(clips), strict=True):
        assert_close(small.mean["layer_2"], large.mean["layer_2"])
    assert encoder.padding() == (round(7.3 * SAMPLE_RATE_HZ), round((3.0 + 2.0 + 2 * 1.1 + 0.5) * SAMPLE_RATE_HZ))


def test_an_overlap_of_more_than_half_a_window_is_refused(tmp_path: Path) -> None:
    config = configure(save_small_speech(tmp_path, "hubert"), "hubert", window_s=2.0, overlap_s=1.5)
    with pytest.raises(ConfigError, match=r"overlap_s 1\.5 is more than half of the window of 2 s; set it to at most 1"):
        config.build("cpu")


def test_sound_at_another_rate_than_the_models_is_refused(tmp_path: Path) -> None:
    folder = save_small_speech(tmp_path, "hubert")
    settings = (folder / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").write_text(settings.replace("16000", "8000"))
    with pytest.raises(EncoderError, match="trained on sound at 8000 Hz; 16000 Hz is supported"):
        configure(folder, "hubert").build("cpu")


def test_clip_group_norm_equals_group_norm_on_each_clip_alone() -> None:
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(6, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x_BCT = torch.randn(3, 6, 50) + 2
    own = ClipGroupNorm(norm)
    own.num_frames_B = torch.tensor([50, 31, 2])
    with torch.no_grad():
        together = own(x_BCT)
        for clip, length in enumerate((50, 31, 2)):
            assert torch.allclose(together[clip : clip + 1, :, :length], norm(x_BCT[clip : clip + 1, :, :length]), atol=1e-5)


@pytest.mark.parametrize("family", CONFIGS)
def test_checkpoints_load_as_they_are_published(tmp_path: Path, family: str) -> None:
    """Pickled, of the whole training model (`wav2vec2.` before each name), with weight norms under torch 1's names."""
    folder = save_small_speech(tmp_path, family, stable=True)
    clip = sound(0.5)
    expected = configure(folder, family).build("cpu").encode([clip])[0]
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    old = {_rename(name, names): tensor for name, tensor in tensors.items()}
    assert any(name.endswith("weight_g") for name in old)
    torch.save(
        {f"{family}.{name}": tensor for name, tensor in old.items()} | {"project_q.weight": torch.zeros(3)}, folder / "pytorch_model.bin"
    )
    found = configure(folder, family).build("cpu").encode([clip])[0]
    assert all(np.array_equal(found.mean[layer], expected.mean[layer]) for layer in expected.mean)
    # And as the network alone.
    torch.save(old, folder / "pytorch_model.bin")
    alone = configure(folder, family).build("cpu").encode([clip])[0]
    assert all(np.array_equal(alone.mean[layer], expected.mean[layer]) for layer in expected.mean)


def _rename(name: str, names: dict[str, str]) -> str:
    for new, old in names.items():
        name = name.replace(new, old)
    return name
