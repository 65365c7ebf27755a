"""Every encoder of the package with inputs of different lengths, small enough to run anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

from mer_ray.core.media_types import Audio, EncoderInput, Frames
from mer_ray.encoders import EncoderConfig
from mer_ray.encoders.gradient import GradientConfig
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.hubert import HubertEncoderConfig
from mer_ray.encoders.spectral import SpectralConfig

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class EncoderCase:
    """`make_config` takes a folder that holds small weights where the encoder needs some."""

    label: str
    make_config: Callable[[Path], EncoderConfig]
    inputs: tuple[EncoderInput, ...]
    # Inputs at the edge of what is legal: they too give finite features.
    hostile_inputs: tuple[EncoderInput, ...]
    # Fields that change the identity, and fields that do not.
    identity_changes: tuple[dict[str, object], ...]
    other_changes: tuple[dict[str, object], ...] = ()
    has_weights: bool = False


def make_sound(seconds: float, pitch_hz: float, seed: int) -> Audio:
    """Harmonics of a gliding pitch in syllables, with a little noise."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * times_s))) / SAMPLE_RATE_HZ
    tone = sum(np.sin(number * phase) / number for number in range(1, 12))
    loudness = 0.1 * (1.1 + np.sin(2 * np.pi * 4 * times_s))
    samples = loudness * tone + 0.003 * rng.standard_normal(len(times_s))
    return Audio(np.clip(samples, -1, 1).astype(np.float32), SAMPLE_RATE_HZ)


def make_frames(num_frames: int, seed: int, size: int = 128) -> Frames:
    """A bright disc that moves over a textured ground."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (size, size, 3))
    row, column = np.mgrid[:size, :size]
    images = []
    for number in range(num_frames):
        is_disc = (row - 40 - 2 * number) ** 2 + (column - 60 - number) ** 2 < 20**2
        images.append(np.where(is_disc[..., None], 230, ground))
    return Frames(np.array(images, dtype=np.uint8), np.arange(num_frames) * 0.2)


def save_small_hubert(
    folder: Path, norm: str, *, stable: bool = False, do_normalize: bool = True, seed: int = 0, **changes: object
) -> Path:
    """A random HuBERT of two layers, saved as its authors would."""
    torch.manual_seed(seed)
    architecture = transformers.HubertConfig(
        **{
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "conv_dim": (16,) * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
            "feat_extract_norm": norm,
            "do_stable_layer_norm": stable,
            **changes,
        }
    )
    model = transformers.HubertModel(architecture)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.GroupNorm):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize, return_attention_mask=norm == "layer").save_pretrained(folder)
    return folder


def _hubert(norm: str, **options: object) -> Callable[[Path], EncoderConfig]:
    return lambda folder: HubertEncoderConfig(weights=str(save_small_hubert(folder / "hubert", norm, **options)))


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
STILL = np.full((3, 128, 128, 3), 200, dtype=np.uint8)
HUBERT_CHANGES: dict[str, tuple[dict[str, object], ...]] = {
    "identity_changes": ({"compute": "bf16"}, {"dtype": "float32"}, {"sequences": ("layer_1",)}),
    "other_changes": ({"max_batch_s": 1.0},),
}

ENCODER_CASES = (
    EncoderCase(
        "spectral",
        lambda folder: SpectralConfig(),
        SOUNDS,
        HOSTILE_SOUNDS,
        ({"dtype": "float32"}, {"sequences": ("mfcc",)}, {"sequences": ("mfcc",), "rate_hz": 10.0}),
    ),
    EncoderCase(
        "gradient",
        lambda folder: GradientConfig(frame_rate_hz=5.0),
        tuple(make_frames(number, number) for number in (4, 1, 9, 6)),
        (Frames(STILL, np.arange(3) * 0.2), Frames(np.zeros_like(STILL), np.arange(3) * 0.2), make_frames(1, 0), make_frames(2, 0)),
        ({"dtype": "float32"}, {"sequences": ("hog_coarse",)}, {"frame_rate_hz": 8.0}, {"crop": "whole"}),
    ),
    EncoderCase(
        "hashing",
        lambda folder: HashingConfig(),
        ("I told you so!", "", "我今天真的很高兴", "why would you do that to her, of all people?"),
        ("", "   ", "?!…", "\x00", "a" * 20_000, "🙂🙂", "é ﬁ ①"),
        ({"dtype": "float32"},),
    ),
    EncoderCase("hubert-layer-norm", _hubert("layer", stable=True), SOUNDS, HOSTILE_SOUNDS, has_weights=True, **HUBERT_CHANGES),
    EncoderCase("hubert-group-norm", _hubert("group", do_normalize=False), SOUNDS, HOSTILE_SOUNDS, has_weights=True, **HUBERT_CHANGES),
    EncoderCase(
        "hubert-batch-norm", _hubert("group", conv_pos_batch_norm=True), SOUNDS, HOSTILE_SOUNDS, has_weights=True, **HUBERT_CHANGES
    ),
)
