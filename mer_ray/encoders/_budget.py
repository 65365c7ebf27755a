"""How much goes through a network at once: batches of similar length within a budget that shrinks when memory runs out."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Result = TypeVar("Result")


class BatchBudget:
    """At most `max_units` per forward pass, padding counted; units are samples, frames or tokens.

    `real_units` and `padded_units` count what went through: their ratio is the share of padding.
    """

    def __init__(self, max_units: float) -> None:
        self.max_units = max_units
        self.real_units = 0
        self.padded_units = 0

    def run(self, lengths: Sequence[int], encode: Callable[[list[int]], Sequence[Result]]) -> list[Result]:
        """Results of all items in order; `encode` takes the numbers of the items of one batch, the longest first.

        Out of memory halves the budget and goes on; an item that does not fit alone raises what torch raised.
        """
        results: dict[int, Result] = {}
        waiting = sorted(range(len(lengths)), key=lambda number: lengths[number], reverse=True)
        while waiting:
            batch = self._cut(waiting, lengths)
            outcomes = _unless_out_of_memory(encode, batch)
            if outcomes is None:
                self.max_units = lengths[batch[0]] * len(batch) / 2
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            results.update(zip(batch, outcomes, strict=True))
            self.real_units += sum(lengths[number] for number in batch)
            self.padded_units += lengths[batch[0]] * len(batch)
            waiting = waiting[len(batch) :]
        return [results[number] for number in range(len(lengths))]

    def _cut(self, waiting: Sequence[int], lengths: Sequence[int]) -> list[int]:
        longest = lengths[waiting[0]]
        return list(waiting[: max(1, int(self.max_units // max(longest, 1)))])


def _unless_out_of_memory(encode: Callable[[list[int]], Sequence[Result]], batch: list[int]) -> Sequence[Result] | None:
    """None where several items did not fit; the error's traceback, which holds their tensors, ends with this call."""
    try:
        return encode(batch)
    except RuntimeError as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
