from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from speech_models import WHISPER_WINDOW_S, save_small_whisper

from mer_ray.core.errors import ConfigError, EncoderError
from mer_ray.core.media_types import Audio, FloatArray
from mer_ray.encoders.whisper import WhisperEncoder, WhisperEncoderConfig

SAMPLE_RATE_HZ = 16_000


def sound(seconds: float, seed: int = 0) -> Audio:
    noise: FloatArray = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ)).astype(np.float32)
    return Audio(noise, SAMPLE_RATE_HZ)


def build(folder: Path, **fields: Any) -> WhisperEncoder:
    return WhisperEncoderConfig.model_validate({"weights": str(folder), "overlap_s": 0.4, **fields}).build("cpu")


@pytest.mark.parametrize("has_head", [True, False])
def test_layers_are_those_of_the_published_encoder_over_the_sounds_own_frames(tmp_path: Path, has_head: bool) -> None:
    folder = save_small_whisper(tmp_path, has_head=has_head)
    clip = sound(0.613)
    features = build(folder, sequences=("layer_0", "layer_1", "layer_2")).encode([sound(1.0, 1), clip])[1]
    model = transformers.WhisperModel.from_pretrained(folder, attn_implementation="eager").eval()
    mel = transformers.WhisperFeatureExtractor.from_pretrained(folder)(clip.samples, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    with torch.no_grad():
        states = model.encoder(mel["input_features"], output_hidden_states=True).hidden_states
    assert features.num_frames == 31
    assert features.frame_s == 0.02
    for number in range(3):
        expected = states[number][0, :31].numpy()
        assert np.abs(features.sequences[f"layer_{number}"] - expected).max() < 1e-5 * np.abs(expected).max()
        assert features.mean[f"layer_{number}"] == pytest.approx(expected.mean(axis=0), abs=1e-5)


def test_the_decoder_is_neither_loaded_nor_counted(tmp_path: Path) -> None:
    folder = save_small_whisper(tmp_path)
    encoder = build(folder)
    assert encoder.model.config._attn_implementation == "sdpa"
    loaded = sum(parameter.numel() for parameter in encoder.model.parameters())
    assert WhisperEncoderConfig(weights=str(folder)).num_weight_bytes() == 4 * loaded
    whole = transformers.WhisperModel.from_pretrained(folder)
    assert loaded == sum(parameter.numel() for parameter in whole.encoder.parameters())


def test_num_layers_ends_with_the_final_norm(tmp_path: Path) -> None:
    folder = save_small_whisper(tmp_path)
    clip = sound(0.5)
    features = build(folder, num_layers=1, sequences=("layer_1",)).encode([clip])[0]
    model = transformers.WhisperModel.from_pretrained(folder).eval().encoder
    model.layers = model.layers[:1]
    mel = transformers.WhisperFeatureExtractor.from_pretrained(folder)(clip.samples, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    with torch.no_grad():
        expected = model(mel["input_features"]).last_hidden_state[0, :25].numpy()
    assert np.abs(features.sequences["layer_1"] - expected).max() < 1e-5 * np.abs(expected).max()


def test_longer_sounds_go_through_in_windows(tmp_path: Path) -> None:
    encoder = build(save_small_whisper(tmp_path), sequences=("layer_2",), max_batch_s=3.0)
    rows: list[int] = []
    encoder.model.layers[0].register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0].shape[0]))
    features = encoder.encode([sound(3.205), sound(0.3, 1)])[0]
    assert features.num_frames == 161
    assert features.sequences["layer_2"].shape == (161, 32)
    assert features.mean["layer_2"] == pytest.approx(features.sequences["layer_2"].mean(axis=0), abs=1e-5)
    assert rows == [3, 3]
    real, padded = encoder.padding()
    assert padded == 6 * WHISPER_WINDOW_S * SAMPLE_RATE_HZ
    assert real < padded


def test_an_overlap_of_more_than_half_a_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"overlap_s 0\.6 is more than half of the window of 1 s"):
        build(save_small_whisper(tmp_path), overlap_s=0.6)


def test_files_of_two_models_are_refused(tmp_path: Path) -> None:
    folder = save_small_whisper(tmp_path)
    transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(folder)
    with pytest.raises(EncoderError, match=r"windows of 32000 samples every 160, but config.json asks for 16000 every 160"):
        build(folder)


def test_too_short_a_sound_says_the_minimum(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"has 399 samples; at least 400 \(25 ms at 16 kHz\)"):
        build(save_small_whisper(tmp_path)).encode([Audio(sound(1.0).samples[:399], SAMPLE_RATE_HZ)])
