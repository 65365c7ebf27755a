"""The batches of an epoch, and what is known of them before any is computed.

Shapes: N training rows, B rows of a batch, S batches of an epoch, T terms of a step's loss.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_ray.batching import ResidentClips, collate_labels
from mer_ray.training.step_network import StepNetwork, taking_part
from mer_ray.training.training_data import IntArray

# A batch without a known label of some kind has 0 / 0 there, which must be 0.
SMALLEST_MASS = 1e-12


@dataclass(frozen=True)
class PlannedBatch:
    """`rows_B` int64, on the clips' device and on the host; per step the scales (T,) of its terms, and whether any is above 0.

    A scale is workers / mass, 0 for a term without mass.
    """

    rows_B: Tensor
    host_rows_B: Tensor
    scales: dict[str, Tensor]
    is_known: dict[str, bool]


class EpochPlan:
    """Masses come from labels and presence alone, which every worker has: those of a global batch need no message.

    `masses[step]` (N, T) lies on the clips' device.
    """

    def __init__(self, network: StepNetwork, clips: ResidentClips, train: IntArray, batch_size: int, num_workers: int) -> None:
        self._rows_N, self._batch_size, self._device = torch.from_numpy(train), batch_size, clips.emotion_N.device
        self._num_workers = num_workers
        labels = collate_labels(clips, self._rows_N.to(self._device))
        steps = network.model.steps
        self.masses = {step.name: network.objective(step).masses(labels, taking_part(network.model, step, labels)) for step in steps}

    @property
    def num_batches(self) -> int:
        """Of an epoch."""
        return -(-len(self._rows_N) // self._batch_size)

    def batches(self, shuffle: torch.Generator) -> Iterator[PlannedBatch]:
        """The global batches of an epoch, the last of which may be smaller."""
        order_N = torch.randperm(len(self._rows_N), generator=shuffle)
        host_rows_N = self._rows_N[order_N]
        host_rows = torch.split(host_rows_N, self._batch_size)
        # All rows of an epoch go to the device at once: a copy per batch would make it wait.
        rows = torch.split(host_rows_N.to(self._device), self._batch_size)
        masses = {name: self._sums(masses_NT, order_N) for name, masses_NT in self.masses.items()}
        # One look at the device per epoch, not per batch.
        known = {name: (masses_ST > 0).any(dim=1).tolist() for name, masses_ST in masses.items()}
        scales = {name: self._scales(masses_ST).unbind() for name, masses_ST in masses.items()}
        for number, rows_B in enumerate(rows):
            own_scales = {name: one[number] for name, one in scales.items()}
            yield PlannedBatch(rows_B, host_rows[number], own_scales, {name: one[number] for name, one in known.items()})

    def _scales(self, masses_ST: Tensor) -> Tensor:
        return torch.where(masses_ST > SMALLEST_MASS, self._num_workers / masses_ST.clamp_min(SMALLEST_MASS), 0.0)

    def _sums(self, masses_NT: Tensor, order_N: Tensor) -> Tensor:
        shuffled_NT = masses_NT[order_N.to(self._device)]
        return torch.stack([masses_BT.sum(dim=0) for masses_BT in torch.split(shuffled_NT, self._batch_size)])
