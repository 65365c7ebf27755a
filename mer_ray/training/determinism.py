"""Deterministic mode: the same numbers on the same machine, also where a GPU would add up in any order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# cuBLAS sums in a fixed order only with a workspace of fixed size; it reads this when it starts.
WORKSPACE_VARIABLE, WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Deterministic algorithms of torch for the block; an operation that has none is an error that names it."""
    if not wanted:
        yield
        return
    os.environ.setdefault(WORKSPACE_VARIABLE, WORKSPACE)
    before, benchmark_before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark_before
