"""Features of one encoder as batching takes them: arrays in the order of the clips.

Shapes: N clips, D feature dimension of a layer.
"""

from dataclasses import dataclass

from mer_ray.core.media_types import BoolArray, FloatArray, Modality


@dataclass(frozen=True)
class EncoderFeatures:
    """Pooled features of one encoder: per layer the mean and the deviation over frames, each (N, D), in layer order.

    `encoder` is the store's key `<name>@<identity8>`; `present_N` is False where the clip lacks the modality, and rows there are not read.
    """

    encoder: str
    modality: Modality
    present_N: BoolArray
    mean: dict[str, FloatArray]
    std: dict[str, FloatArray]

    @property
    def name(self) -> str:
        """The encoder's name without its identity."""
        return self.encoder.partition("@")[0]
