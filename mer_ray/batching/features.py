"""Features of one encoder as batching takes them: arrays in the order of the clips.

Shapes: N clips, T frames of all clips, D feature dimension of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import BoolArray, Modality

StoredArray = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Frames:
    """Frames of N clips end to end: clip i is `values_TD[offsets_N1[i] : offsets_N1[i + 1]]`, none where it lacks the modality."""

    values_TD: StoredArray
    offsets_N1: npt.NDArray[np.int64]


@dataclass(frozen=True)
class EncoderFeatures:
    """Features of one encoder: `columns["mean_<layer>"]`, `columns["std_<layer>"]` (N, D) and `frames[layer]` of the layers that are read.

    `encoder` is the store's key `<name>@<identity8>`; `present_N` is False where the clip lacks the modality.
    """

    encoder: str
    modality: Modality
    layers: tuple[str, ...]
    present_N: BoolArray
    columns: Mapping[str, StoredArray]
    frames: Mapping[str, Frames] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The encoder's name without its identity."""
        return self.encoder.partition("@")[0]
