"""How the workers of one training share batches, sums and predictions; one worker is the plain case.

Shapes: B clips of a global batch.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mer_ray.training.training_data import IntArray


class Communicator:
    """One worker: every part is the whole. `rank` 0 writes files; `num_workers` scales losses."""

    rank = 0
    num_workers = 1

    @property
    def is_main(self) -> bool:
        """Whether this worker writes."""
        return self.rank == 0

    def part(self, rows_B: Tensor) -> Tensor:
        """The rows of a global batch that this worker takes; unequal where it does not divide, possibly none."""
        return rows_B

    def rows(self, rows: IntArray) -> IntArray:
        """The rows that this worker predicts."""
        return rows

    def wrap(self, network: nn.Module, has_steps: bool) -> nn.Module:
        """The network whose gradients are those of the global batch; `has_steps`: each call uses a part of the parameters."""
        return network

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Gradients of the block stay this worker's until the next backward outside of one."""
        return nullcontext()

    def gather_rows(self, own: Tensor, num_rows: int) -> Tensor:
        """All workers' rows (B, K) of a global batch of `num_rows`, in order; the gradient flows into the own ones."""
        return own

    @property
    def is_preempted(self) -> bool:
        """Whether a machine of this training will be taken away soon."""
        return False

    def sum(self, values: Tensor) -> Tensor:
        """Sums over workers, without gradient."""
        return values

    def gather(self, part: Any) -> list[Any]:
        """Everybody's part, in the order of ranks."""
        return [part]

    def agree(self, value: Any) -> Any:
        """The main worker's value, for all."""
        return value


class DistributedCommunicator(Communicator):
    """The workers of the current `torch.distributed` process group."""

    def __init__(self) -> None:
        self.rank = torch.distributed.get_rank()
        self.num_workers = torch.distributed.get_world_size()

    def part(self, rows_B: Tensor) -> Tensor:
        """A nearly equal share of consecutive rows."""
        return torch.tensor_split(rows_B, self.num_workers)[self.rank]

    def rows(self, rows: IntArray) -> IntArray:
        """A nearly equal share of consecutive rows."""
        share: IntArray = np.array_split(rows, self.num_workers)[self.rank]
        return share

    def wrap(self, network: nn.Module, has_steps: bool) -> nn.Module:
        """DDP: the mean of the workers' gradients, which `num_workers` times each local share makes the global gradient."""
        return DistributedDataParallel(network, find_unused_parameters=has_steps)

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """DDP's own."""
        assert isinstance(wrapped, DistributedDataParallel)
        return wrapped.no_sync()

    def gather_rows(self, own: Tensor, num_rows: int) -> Tensor:
        """Gather shares of unequal length, padded to the longest."""
        longest = -(-num_rows // self.num_workers)
        padded = torch.zeros(longest, own.shape[1], dtype=own.dtype, device=own.device)
        padded[: len(own)] = own.detach()
        found = [torch.empty_like(padded) for _ in range(self.num_workers)]
        torch.distributed.all_gather(found, padded)
        lengths = [len(share) for share in torch.tensor_split(torch.empty(num_rows), self.num_workers)]
        parts = [share[:length] for share, length in zip(found, lengths, strict=True)]
        parts[self.rank] = own
        return torch.cat(parts)

    def sum(self, values: Tensor) -> Tensor:
        """All-reduce a copy."""
        total = values.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    def gather(self, part: Any) -> list[Any]:
        """Gather picklable parts on every worker."""
        parts: list[Any] = [None] * self.num_workers
        torch.distributed.all_gather_object(parts, part)
        return parts

    def agree(self, value: Any) -> Any:
        """Broadcast a picklable value."""
        shared = [value]
        torch.distributed.broadcast_object_list(shared, src=0)
        return shared[0]
