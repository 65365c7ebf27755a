"""Resident tensors -> Batch: all clips lie on the device, a batch is an index select.

Shapes: N clips, B clips in the batch, D feature dimension, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor

from mer_ray.batching.frame_bank import FrameBank
from mer_ray.batching.pooled_bank import PooledBank
from mer_ray.core.batch import Batch

CLEAN: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class ResidentClips:
    """All clips on one device, as `Batch` describes them: `streams[name]` (N, D), `pooled[name]` or `frames[name]`; labels (N,).

    The rows of a stream's degraded copies lie behind those of the clean clips, N each.
    """

    streams: dict[str, Tensor]
    present: dict[str, Tensor]
    emotion_N: Tensor
    values: dict[str, Tensor]
    emotion_probs_NC: Tensor | None = None
    weight_N: Tensor | None = None
    frames: dict[str, FrameBank] = field(default_factory=dict)
    pooled: dict[str, PooledBank] = field(default_factory=dict)

    def longest(self, host_rows_B: Tensor, bank_rows: Mapping[str, Tensor] = CLEAN) -> dict[str, int]:
        """How many frames the longest of some clips has, per frame stream; rows int64 on the CPU, `bank_rows` as in `collate`."""
        return {name: bank.longest(bank_rows.get(name, host_rows_B)) for name, bank in self.frames.items()}


def collate(clips: ResidentClips, rows_B: Tensor, longest: Mapping[str, int], bank_rows: Mapping[str, Tensor] = CLEAN) -> Batch:
    """The batch of the clips at `rows_B` (int64, on the clips' device); `longest` is at least that of these clips.

    `bank_rows[stream]` (B,): the rows of the copies that these clips have in a stream; by default the clean ones.
    """
    batch = collate_labels(clips, rows_B)
    batch.streams = {name: x_ND.index_select(0, bank_rows.get(name, rows_B)) for name, x_ND in clips.streams.items()}
    batch.streams |= {name: bank.take(rows_B) for name, bank in clips.pooled.items()}
    for name, bank in clips.frames.items():
        batch.streams[name], batch.frame_masks[name] = bank.take(bank_rows.get(name, rows_B), longest[name])
    return batch


def collate_labels(clips: ResidentClips, rows_B: Tensor) -> Batch:
    """The batch without its streams: labels, and who has which."""
    return Batch(
        streams={},
        present={name: present_N.index_select(0, rows_B) for name, present_N in clips.present.items()},
        emotion=clips.emotion_N.index_select(0, rows_B),
        values={name: value_N.index_select(0, rows_B) for name, value_N in clips.values.items()},
        emotion_probs=None if clips.emotion_probs_NC is None else clips.emotion_probs_NC.index_select(0, rows_B),
        weight=None if clips.weight_N is None else clips.weight_N.index_select(0, rows_B),
    )
