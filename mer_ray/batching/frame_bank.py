"""All frames of a stream on one device, and batches of them.

Shapes: N clips, T frames (of all clips in the bank, of the longest clip in a batch), D feature dimension, B clips, K groups of clips.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mer_ray.batching.normalise import Normalisation


@dataclass(frozen=True)
class FrameBank:
    """Frames as they are stored, end to end, and what normalises them.

    `values_TD` has at least one row; `starts_N`, `lengths_N` int64 on the device, `host_lengths_N` the same on the host, where the
    longest of a batch is looked up without waiting for the device. `normalisation` is (K, D), a clip's row in it `group_N`.
    """

    values_TD: Tensor
    starts_N: Tensor
    lengths_N: Tensor
    host_lengths_N: Tensor
    normalisation: Normalisation
    group_N: Tensor

    def longest(self, host_rows_B: Tensor) -> int:
        """The frames of the longest clip, at least 1."""
        return max(1, int(self.host_lengths_N[host_rows_B].max())) if len(host_rows_B) else 1

    def take(self, rows_B: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """Normalised frames (B, T, D) of clips, zero behind their end, and the mask (B, T); T is `num_frames`."""
        steps_T = torch.arange(num_frames, device=rows_B.device)
        mask_BT = steps_T < self.lengths_N.index_select(0, rows_B)[:, None]
        index_BT = torch.where(mask_BT, self.starts_N.index_select(0, rows_B)[:, None] + steps_T, 0)
        frames_BTD = self.values_TD.index_select(0, index_BT.flatten()).reshape(*index_BT.shape, self.values_TD.shape[1]).float()
        group_B = self.group_N.index_select(0, rows_B)
        mean_B1D = self.normalisation.mean_D.index_select(0, group_B)[:, None]
        scale_B1D = self.normalisation.scale_D.index_select(0, group_B)[:, None]
        return torch.where(mask_BT[:, :, None], (frames_BTD - mean_B1D) / scale_B1D, 0.0), mask_BT
