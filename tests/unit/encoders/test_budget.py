import itertools
import subprocess
import sys

import pytest
import torch

from mer_ray.core.errors import EncoderError
from mer_ray.encoders._budget import BatchBudget, is_out_of_memory, make_rungs

# More than any machine has: torch refuses to allocate it and says so as it does when memory runs out.
TOO_MANY_VALUES = 1 << 58


def test_items_come_back_in_order_from_batches_of_similar_length() -> None:
    lengths = [5, 20, 7, 11, 30, 1]
    batches: list[list[int]] = []

    def encode(batch: list[int]) -> list[str]:
        batches.append(batch)
        return [f"item {number}" for number in batch]

    budget = BatchBudget(33)
    assert budget.run(lengths, encode) == [f"item {number}" for number in range(6)]
    assert batches == [[4], [1], [3, 2, 0], [5]]
    assert (budget.real_units, budget.padded_units) == (sum(lengths), 30 + 20 + 3 * 11 + 1)


def test_an_item_above_the_budget_goes_alone() -> None:
    assert BatchBudget(0).run([3, 4], lambda batch: [len(batch)] * len(batch)) == [1, 1]


def test_no_items_no_batches() -> None:
    assert BatchBudget(10).run([], lambda batch: batch) == []


def test_out_of_memory_halves_the_budget_and_goes_on() -> None:
    tried: list[int] = []

    def encode(batch: list[int]) -> list[int]:
        tried.append(len(batch))
        if len(batch) > 2:
            torch.empty(TOO_MANY_VALUES)
        return batch

    budget = BatchBudget(80)
    assert budget.run([10] * 8, encode) == list(range(8))
    assert tried == [8, 4, 2, 2, 2, 2]
    assert budget.max_units == 20
    assert budget.padded_units == 80
    # What fits now is known: the next call starts there.
    budget.run([10] * 4, encode)
    assert tried[6:] == [2, 2]


def test_a_single_item_that_does_not_fit_says_what_to_do() -> None:
    def encode(batch: list[int]) -> list[int]:
        torch.empty(TOO_MANY_VALUES)
        return batch

    with pytest.raises(EncoderError, match=r"a single input of 30 samples.* a lower max_batch_\* cannot help; .*compute: bf16"):
        BatchBudget(100).run([30, 20], encode)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        BatchBudget(100).run([3, 2], lambda batch: [torch.zeros(2).view(3)] * len(batch))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))


@pytest.mark.slow
def test_a_process_with_little_memory_gets_through_in_small_batches() -> None:
    """Under a real limit of the operating system, with tensors that are really written."""
    script = """
import resource
import torch
from mer_ray.encoders._budget import BatchBudget

MIB = 1 << 20
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * MIB, used + 600 * MIB))
tried = []

def encode(batch):
    tried.append(len(batch))
    return torch.ones(len(batch), 100 * MIB // 4).sum(dim=1).tolist()

budget = BatchBudget(16)
assert budget.run([1] * 16, encode) == [100 * MIB // 4] * 16
print(tried[0], max(tried[-3:]), sum(tried) > 16)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    first, last, was_refused = result.stdout.split()
    assert (first, was_refused) == ("16", "True")
    assert int(last) <= 5


def test_rungs_are_few_and_hold_every_length() -> None:
    rungs = make_rungs(16_000, 480_399, 10)
    assert len(rungs) == 10
    assert (rungs[0], rungs[-1]) == (16_000, 480_399)
    assert all(1.45 < upper / lower < 1.47 for lower, upper in itertools.pairwise(rungs))
    assert make_rungs(16_000, 16_000, 10) == [16_000]


def test_batches_are_padded_to_the_rungs_and_the_budget_counts_it() -> None:
    batches: list[list[int]] = []

    def encode(batch: list[int]) -> list[int]:
        batches.append(batch)
        return batch

    budget = BatchBudget(40, [10, 20])
    budget.run([3, 11, 9, 20, 2, 1], encode)
    assert [budget.padded_length(length) for length in (1, 10, 11, 20)] == [10, 10, 20, 20]
    assert batches == [[3, 1], [2, 0, 4, 5]]
    assert (budget.real_units, budget.padded_units) == (46, 2 * 20 + 4 * 10)
