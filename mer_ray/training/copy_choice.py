"""Which copy of its features each training clip has in an epoch: the clean one, or a degraded one, all alike likely (our choice).

Shapes: N clips, B clips of a batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mer_ray.batching import Stream
from mer_ray.core.seeding import derive_seed


class CopyChoice:
    """One draw per clip, modality and epoch, which depends on nothing but the seed: neither on workers nor on the order of clips.

    Streams of one modality take the same copy: it is one sound. Before the first draw all are clean.
    """

    def __init__(self, streams: Sequence[Stream], seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device
        self._augmented = {stream.spec.name: stream.spec.modality for stream in streams if stream.copies}
        self._num_copies = {stream.spec.modality: 1 + len(stream.copies) for stream in streams if stream.copies}
        self._num_clips = len(streams[0].present_N)
        self._host_copy_N = {modality: torch.zeros(self._num_clips, dtype=torch.int64) for modality in self._num_copies}
        self._copy_N = {modality: copy_N.to(device) for modality, copy_N in self._host_copy_N.items()}

    def draw(self, epoch: int) -> None:
        """Choose for all clips."""
        for modality, num_copies in self._num_copies.items():
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "copies", modality, epoch))
            self._host_copy_N[modality] = torch.randint(num_copies, (self._num_clips,), generator=generator)
            self._copy_N[modality] = self._host_copy_N[modality].to(self._device)

    def bank_rows(self, rows_B: Tensor) -> dict[str, Tensor]:
        """Per augmented stream the rows of the chosen copies, which lie behind the clean clips one copy after the other.

        On the device of `rows_B`: the host or the clips'.
        """
        copies = self._host_copy_N if rows_B.device.type == "cpu" else self._copy_N
        return {name: copies[modality][rows_B] * self._num_clips + rows_B for name, modality in self._augmented.items()}
