"""The encoders of pictures: a small random CLIP, and the networks for faces at full width on small pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from encoder_case import EncoderCase
from published_weights import random_tensors

from mer_ray.core.media_types import Frames
from mer_ray.encoders import EncoderConfig
from mer_ray.encoders._face_network import FaceNetworkConfig
from mer_ray.encoders.clip import ClipEncoderConfig
from mer_ray.encoders.efficientnet import EfficientNetConfig
from mer_ray.encoders.manet import ManetConfig
from mer_ray.encoders.resnet_fer import ResnetFerConfig

CLIP_SIZE = 32
TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "projection_dim": 16}
VISION_TOWER = {**TOWER, "image_size": CLIP_SIZE, "patch_size": 8, "initializer_factor": 3.0}


def make_scenes(num_frames: int, seed: int, size: int) -> Frames:
    """Another disc of another colour on another ground in every frame: deviations as large as means."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size] / size
    images = []
    for _ in range(num_frames):
        ground, disc = rng.integers(0, 256, (2, 3))
        is_disc = (row - rng.random()) ** 2 + (column - rng.random()) ** 2 < 0.1
        images.append(np.where(is_disc[..., None], disc, ground) * rng.uniform(0.7, 1, (size, size, 1)))
    return Frames(np.array(images).astype(np.uint8), np.arange(num_frames) * 0.2)


def save_small_clip(folder: Path, model_class: str = "CLIPModel", seed: int = 0) -> Path:
    """A random CLIP of two layers, whole or its tower for pictures, saved as its authors would."""
    torch.manual_seed(seed)
    if model_class == "CLIPModel":
        text = {**TOWER, "vocab_size": 64, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
        architecture = transformers.CLIPConfig(text_config=text, vision_config=VISION_TOWER, projection_dim=TOWER["projection_dim"])
    else:
        architecture = transformers.CLIPVisionConfig(**VISION_TOWER)
    getattr(transformers, model_class)(architecture).save_pretrained(folder)
    size = {"height": CLIP_SIZE, "width": CLIP_SIZE}
    transformers.CLIPImageProcessor(size={"shortest_edge": CLIP_SIZE}, crop_size=size).save_pretrained(folder)
    return folder


def _clip(model_class: str) -> Callable[[Path], EncoderConfig]:
    return lambda folder: ClipEncoderConfig(weights=str(save_small_clip(folder / "clip", model_class)), frame_rate_hz=5.0)


def _face_network(config_class: type[FaceNetworkConfig], listing: str, size: int) -> Callable[[Path], EncoderConfig]:
    def make_config(folder: Path) -> EncoderConfig:
        weights = folder / "published.pth"
        torch.save(random_tensors(listing), weights)
        return config_class(weights=weights, faces="whole_frame", size=size, frame_rate_hz=5.0)

    return make_config


def _case(label: str, make_config: Callable[[Path], EncoderConfig], size: int, changes: tuple[dict[str, object], ...] = ()) -> EncoderCase:
    still = np.full((3, size, size, 3), 200, dtype=np.uint8)
    return EncoderCase(
        label,
        make_config,
        inputs=tuple(make_scenes(number, number, size) for number in (3, 1, 4)),
        hostile_inputs=(Frames(still, np.arange(3) * 0.2), Frames(np.zeros_like(still), np.arange(3) * 0.2)),
        identity_changes=({"dtype": "float32"}, {"compute": "bf16"}, {"crop": "whole"}, {"faces": {"name": "crops"}}, *changes),
        other_changes=({"max_batch_frames": 2},),
        has_weights=True,
        is_slow=not label.startswith("clip"),
    )


VISION_CASES = (
    _case("clip-whole-model", _clip("CLIPModel"), CLIP_SIZE),
    _case("clip-tower", _clip("CLIPVisionModel"), CLIP_SIZE),
    _case("efficientnet_b2", _face_network(EfficientNetConfig, "efficientnet_b2", 64), 64, ({"size": 48},)),
    _case("resnet_fer", _face_network(ResnetFerConfig, "resnet50_ferplus_dag", 32), 32 * 8 // 7, ({"size": 48},)),
    _case("manet", _face_network(ManetConfig, "manet", 32), 32, ({"size": 48},)),
)
