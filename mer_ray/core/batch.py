"""What models take and give.

Shapes: B clips in the batch, T frames, D feature dimension, C classes, S streams, M modalities. Masks: True = real data.
"""

from dataclasses import dataclass, field

from torch import Tensor

from mer_ray.core.media_types import Modality

VALUE_NAMES = ("valence", "arousal", "dominance")


@dataclass(frozen=True)
class StreamSpec:
    """One input of a fusion model: a layer, or a combination of layers, of one encoder; pooled (B, D), or frames (B, T, D)."""

    name: str
    modality: Modality
    dim: int
    is_sequence: bool = False


@dataclass(frozen=True)
class TaskSpec:
    """What a model predicts: classes in order, and the names of the values (`valence`, ...)."""

    classes: tuple[str, ...]
    values: tuple[str, ...] = ()


@dataclass
class Batch:
    """Clips as tensors, all on one device.

    `streams[name]` is (B, D) pooled or (B, T, D) frames, zero where absent; `present[name]` bool (B,);
    `frame_masks[name]` bool (B, T) for frame streams, False throughout where absent. Labels: `emotion` int64 (B,) with -1 = unknown;
    `emotion_probs` float32 (B, C) or None; `values[name]` float32 (B,) with NaN = unknown. `weight` float32 (B,): how much each clip counts
    in the loss, None = all alike.
    """

    streams: dict[str, Tensor]
    present: dict[str, Tensor]
    emotion: Tensor
    values: dict[str, Tensor]
    frame_masks: dict[str, Tensor] = field(default_factory=dict)
    emotion_probs: Tensor | None = None
    weight: Tensor | None = None

    @property
    def num_clips(self) -> int:
        """B."""
        return int(self.emotion.shape[0])


@dataclass
class Reconstruction:
    """What a model makes of a clip's features again, and what they were: both (B, D); clips without them take no part."""

    predicted: Tensor
    target: Tensor


@dataclass
class Predictions:
    """A model's output: `logits` (B, C), `values[name]` (B,), and `attention` (B, S) over `attention_names` (S,), NaN where absent.

    `reconstructions` by stream, where a model learns to rebuild its inputs; `facts[name]` float32 (B,) are numbers about single clips
    that the report shows, such as a gate, NaN where a clip has none.
    """

    logits: Tensor
    values: dict[str, Tensor] = field(default_factory=dict)
    attention: Tensor | None = None
    attention_names: tuple[str, ...] = ()
    reconstructions: dict[str, Reconstruction] = field(default_factory=dict)
    facts: dict[str, Tensor] = field(default_factory=dict)
