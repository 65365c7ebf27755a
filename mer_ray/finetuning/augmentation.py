"""What a training clip's input is in an epoch: a draw of its frames, changed alike, or a piece of its sound.

Shapes: N frames, H height, W width, C colour channels.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mer_ray.core.config import Config
from mer_ray.core.media_types import Frames


class AugmentConfig(Config):
    """All frames of a clip change alike: mirrored with probability `flip`, cropped to a share of their area, brightness and contrast.

    `crop` is the least share that is left (1: none), `colour` the largest relative change (0: none).
    """

    flip: float = Field(0.5, ge=0, le=1)
    crop: float = Field(0.7, gt=0, le=1)
    colour: float = Field(0.2, ge=0, lt=1)


def draw_frames(frames: Frames, count: int, generator: torch.Generator | None) -> Frames:
    """`count` frames in their order, drawn by chance, or evenly spaced without a generator; all where there are no more."""
    total = len(frames.images)
    if total <= count:
        return frames
    if generator is None:
        chosen = ((np.arange(count) + 0.5) * total / count).astype(np.int64)
    else:
        chosen = torch.randperm(total, generator=generator)[:count].sort().values.numpy()
    return replace(frames, images=frames.images[chosen], times_s=frames.times_s[chosen])


def augment_frames(frames: Frames, config: AugmentConfig, seed: int) -> Frames:
    """The frames as torchvision changes them; the same seed gives the same change on every worker."""
    height, width = frames.images.shape[1:3]
    change = _make_change(config, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images_NCHW = change(torch.from_numpy(np.array(frames.images)).permute(0, 3, 1, 2))
    return replace(frames, images=np.ascontiguousarray(images_NCHW.permute(0, 2, 3, 1).numpy()))


@lru_cache(maxsize=4)
def _make_change(config: AugmentConfig, height: int, width: int) -> Callable[[Tensor], Tensor]:
    # 1 s to import, and only training on pictures needs it.
    from torchvision.transforms import v2

    change: Callable[[Tensor], Tensor] = v2.Compose(
        [
            v2.RandomHorizontalFlip(config.flip),
            v2.RandomResizedCrop((height, width), scale=(config.crop, 1.0), ratio=(0.9, 1.1), antialias=True),
            v2.ColorJitter(brightness=config.colour, contrast=config.colour),
        ]
    )
    return change


def share_of_start(generator: torch.Generator | None) -> float:
    """Where a piece of a sound starts, as a share of what is left out: by chance, or so that it is the middle."""
    return 0.5 if generator is None else float(torch.rand((), generator=generator))
