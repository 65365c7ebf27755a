"""Resident tensors -> Batch: all clips lie on the device, a batch is an index select.

Shapes: N clips, B clips in the batch, D feature dimension, C classes.
"""

from dataclasses import dataclass

from torch import Tensor

from mer_ray.core.batch import Batch


@dataclass(frozen=True)
class ResidentClips:
    """All clips on one device, as `Batch` describes them: `streams[name]` (N, D), `present[name]` bool (N,), labels (N,)."""

    streams: dict[str, Tensor]
    present: dict[str, Tensor]
    emotion_N: Tensor
    values: dict[str, Tensor]
    emotion_probs_NC: Tensor | None = None


def collate(clips: ResidentClips, rows_B: Tensor) -> Batch:
    """The batch of the clips at `rows_B` (int64, on the clips' device)."""
    return Batch(
        streams={name: x_ND.index_select(0, rows_B) for name, x_ND in clips.streams.items()},
        present={name: present_N.index_select(0, rows_B) for name, present_N in clips.present.items()},
        emotion=clips.emotion_N.index_select(0, rows_B),
        values={name: value_N.index_select(0, rows_B) for name, value_N in clips.values.items()},
        emotion_probs=None if clips.emotion_probs_NC is None else clips.emotion_probs_NC.index_select(0, rows_B),
    )
