"""Features of one encoder as batching takes them: arrays in the order of the clips.

Shapes: N clips, D feature dimension of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_ray.core.media_types import BoolArray, Modality


@dataclass(frozen=True)
class EncoderFeatures:
    """Pooled features of one encoder: `columns["mean_<layer>"]`, `columns["std_<layer>"]` (N, D) of the layers that a stream reads.

    `encoder` is the store's key `<name>@<identity8>`; `present_N` is False where the clip lacks the modality.
    """

    encoder: str
    modality: Modality
    layers: tuple[str, ...]
    present_N: BoolArray
    columns: Mapping[str, npt.NDArray[np.float16] | npt.NDArray[np.float32]]

    @property
    def name(self) -> str:
        """The encoder's name without its identity."""
        return self.encoder.partition("@")[0]
