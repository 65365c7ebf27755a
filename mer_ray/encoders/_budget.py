"""How much goes through a network at once: batches of similar length within a budget that shrinks when memory runs out."""

import gc
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from mer_ray.core.errors import EncoderError

Result = TypeVar("Result")

# What torch's other errors say then: of the host's memory, and of the GPU's when cuBLAS makes its workspace.
OUT_OF_MEMORY_SIGNS = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class BatchBudget:
    """At most `max_units` per forward pass, padding counted; units are samples, frames or tokens.

    `rungs`, ascending, are the only lengths that batches are padded to (`padded_length`); without them a batch is padded to its
    longest item. `real_units` and `padded_units` count what went through: their ratio is the share of padding.
    """

    def __init__(self, max_units: float, rungs: Sequence[int] = ()) -> None:
        self.max_units = max_units
        self.rungs = tuple(rungs)
        self.real_units = 0
        self.padded_units = 0

    def run(self, lengths: Sequence[int], encode: Callable[[list[int]], Sequence[Result]]) -> list[Result]:
        """Results of all items in order; `encode` takes the numbers of the items of one batch, the longest first.

        Out of memory halves the budget and goes on.

        Raises:
            EncoderError: memory runs out with a single item.

        """
        results: dict[int, Result] = {}
        waiting = sorted(range(len(lengths)), key=lambda number: lengths[number], reverse=True)
        while waiting:
            padded_length = self.padded_length(lengths[waiting[0]])
            batch = waiting[: max(1, int(self.max_units // max(padded_length, 1)))]
            outcomes = _unless_out_of_memory(encode, batch)
            if outcomes is None:
                if len(batch) == 1:
                    raise EncoderError(_does_not_fit(padded_length))
                self.max_units = padded_length * len(batch) / 2
                _free_memory()
                continue
            results.update(zip(batch, outcomes, strict=True))
            self.real_units += sum(lengths[number] for number in batch)
            self.padded_units += padded_length * len(batch)
            waiting = waiting[len(batch) :]
        return [results[number] for number in range(len(lengths))]

    def padded_length(self, longest: int) -> int:
        """The length that a batch is padded to: the lowest rung that holds its longest item."""
        return next((rung for rung in self.rungs if rung >= longest), longest)


def make_rungs(shortest: int, longest: int, max_rungs: int) -> list[int]:
    """At most `max_rungs` lengths from `shortest` to `longest`, each the same factor above the one before."""
    factor = longest / shortest
    return sorted({math.ceil(shortest * factor ** (step / (max_rungs - 1))) for step in range(max_rungs - 1)} | {longest})


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY_SIGNS)


def _unless_out_of_memory(encode: Callable[[list[int]], Sequence[Result]], batch: list[int]) -> Sequence[Result] | None:
    """None where memory ran out; the error's traceback, which holds the batch's tensors, ends with this call."""
    try:
        return encode(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def _does_not_fit(length: int) -> str:
    return (
        f"a single input of {length} samples, frames or tokens does not fit into the memory that is left, so a lower max_batch_* "
        "cannot help; give fewer encoders to one pass, set compute: bf16, shorten the encoder's window, or take more memory"
    )


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
