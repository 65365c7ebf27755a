"""The encoders of speech: small random networks, saved as their authors would."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from encoder_case import EncoderCase
from speech_models import save_small_speech, save_small_whisper

from mer_ray.core.media_types import Audio
from mer_ray.encoders import EncoderConfig
from mer_ray.encoders.contract_inputs import make_sound
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.wav2vec2 import Wav2Vec2EncoderConfig
from mer_ray.encoders.wavlm import WavLMEncoderConfig
from mer_ray.encoders.whisper import WhisperEncoderConfig

SAMPLE_RATE_HZ = 16_000
SOUNDS = (make_sound(1.3, 120, 0), make_sound(0.4, 210, 1), make_sound(2.2, 95, 2), make_sound(1.7, 300, 3))
HOSTILE_SOUNDS = (
    Audio(np.zeros(8000, dtype=np.float32), SAMPLE_RATE_HZ),
    Audio(np.ones(8000, dtype=np.float32), SAMPLE_RATE_HZ),
    Audio(np.tile(np.array([1, -1], dtype=np.float32), 4000), SAMPLE_RATE_HZ),
    Audio(np.sin(2 * np.pi * 1000 * np.arange(8000) / SAMPLE_RATE_HZ).astype(np.float32), SAMPLE_RATE_HZ),
    Audio(1e-20 * SOUNDS[0].samples, SAMPLE_RATE_HZ),
    Audio(SOUNDS[0].samples[:400], SAMPLE_RATE_HZ),
    Audio(SOUNDS[0].samples[:721], SAMPLE_RATE_HZ),
)
CONFIGS = {"hubert": HubertEncoderConfig, "wav2vec2": Wav2Vec2EncoderConfig, "wavlm": WavLMEncoderConfig}
# Windows of one second: three of the four sounds are longer.
SHORT_WINDOWS: dict[str, object] = {"window_s": 1.0, "overlap_s": 0.4}
COMMON_CHANGES: tuple[dict[str, object], ...] = (
    {"compute": "bf16"},
    {"dtype": "float32"},
    {"sequences": ("layer_1",)},
    {"num_layers": 1},
    {"overlap_s": 0.2},
)


def _conv(label: str, norm: str, fields: dict[str, object] | None = None, **architecture: object) -> EncoderCase:
    family = label.partition("-")[0]

    def make_config(folder: Path) -> EncoderConfig:
        weights = save_small_speech(folder / family, family, norm, **architecture)
        return CONFIGS[family].model_validate({"weights": str(weights), **(fields or {})})

    return _case(label, make_config, ({"window_s": 1.5},))


def _case(label: str, make_config: Callable[[Path], EncoderConfig], changes: tuple[dict[str, object], ...] = ()) -> EncoderCase:
    return EncoderCase(
        label, make_config, SOUNDS, HOSTILE_SOUNDS, (*COMMON_CHANGES, *changes), ({"max_batch_s": 1.0}, {"compile": True}), has_weights=True
    )


SPEECH_CASES = (
    _conv("hubert-layer-norm", "layer", stable=True),
    _conv("hubert-group-norm", "group", do_normalize=False),
    _conv("hubert-batch-norm", "group", conv_pos_batch_norm=True),
    _conv("hubert-windows", "group", SHORT_WINDOWS),
    _conv("wav2vec2-layer-norm", "layer", {"num_layers": 2}, stable=True, num_hidden_layers=4),
    _conv("wav2vec2-group-norm", "group"),
    _conv("wavlm-layer-norm", "layer", SHORT_WINDOWS, stable=True),
    _conv("wavlm-group-norm", "group"),
    _case("whisper", lambda folder: WhisperEncoderConfig(weights=str(save_small_whisper(folder / "whisper")), overlap_s=0.4)),
)
