"""Small random networks in the published format: stand-ins for published weights, so that jobs can be rehearsed without network.

They are what their seed makes of them, and know nothing until they are trained.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from mer_ray.core.seeding import derive_seed

SIZES: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
CLIP_SIZE = 64


def write_small_network(name: str, folder: Path) -> None:
    """Write a network of a family, unless it is there."""
    if (folder / "config.json").is_file():
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("small network", name))
        WRITERS[name](folder)


def _write_clip(folder: Path) -> None:
    architecture = transformers.CLIPVisionConfig(**SIZES, image_size=CLIP_SIZE, patch_size=8, projection_dim=32, initializer_factor=3.0)
    size = {"height": CLIP_SIZE, "width": CLIP_SIZE}
    transformers.CLIPImageProcessor(size={"shortest_edge": CLIP_SIZE}, crop_size=size).save_pretrained(folder)
    transformers.CLIPVisionModel(architecture).save_pretrained(folder)


def _write_hubert(folder: Path) -> None:
    architecture = transformers.HubertConfig(
        **SIZES, conv_dim=(32,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, feat_extract_norm="layer"
    )
    make_extractor: Any = transformers.Wav2Vec2FeatureExtractor
    make_extractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    transformers.HubertModel(architecture).save_pretrained(folder)


WRITERS: dict[str, Callable[[Path], None]] = {"clip": _write_clip, "hubert": _write_hubert}
