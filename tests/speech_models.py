"""Random speech networks of two small blocks, saved as their authors would."""

from pathlib import Path
from typing import Any

import torch
import transformers

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "hubert": (transformers.HubertConfig, transformers.HubertModel),
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
}
WHISPER_WINDOW_S = 1


def save_small_speech(
    folder: Path, family: str, norm: str = "layer", *, stable: bool = False, do_normalize: bool = True, seed: int = 0, **changes: object
) -> Path:
    """A HuBERT, wav2vec 2.0 or WavLM; `changes` go to its config."""
    torch.manual_seed(seed)
    config_class, model_class = FAMILIES[family]
    model = model_class(config_class(**{**SMALL, "feat_extract_norm": norm, "do_stable_layer_norm": stable, **changes}))
    _make_visible(model)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize, return_attention_mask=norm == "layer").save_pretrained(folder)
    return folder


def save_small_whisper(folder: Path, *, has_head: bool = True, seed: int = 0) -> Path:
    """A Whisper that hears one second; published checkpoints have the language model's head."""
    torch.manual_seed(seed)
    architecture = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=20,
        max_source_positions=50 * WHISPER_WINDOW_S,
        vocab_size=60,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    model: Any = (transformers.WhisperForConditionalGeneration if has_head else transformers.WhisperModel)(architecture)
    _make_visible(model)
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=WHISPER_WINDOW_S).save_pretrained(folder)
    return folder


def _make_visible(model: Any) -> None:
    """Norms that do something, and relative positions that matter: fresh networks have neither."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.GroupNorm) or name.endswith("encoder.layer_norm"):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
        if name.endswith("rel_attn_embed"):
            torch.nn.init.normal_(module.weight)
