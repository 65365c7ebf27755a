"""Soft labels: probabilities of the classes, in their order."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mer_ray.corpora.cells import CellError, is_unknown, read_cell

# Votes that were rounded to two or three places still sum to one within this.
MAX_SUM_ERROR = 0.02


def read_soft_label(cells: Any, num_classes: int) -> list[float] | None:
    """Read one row's probabilities, scaled to sum to exactly one; None where all of them are unknown.

    Raises:
        CellError: not as many probabilities as classes, or they do not sum to one.

    """
    if is_unknown(cells) or (isinstance(cells, list) and all(map(is_unknown, cells))):
        return None
    allowed = f"{num_classes} numbers from 0 to 1 that sum to 1, or all empty for unknown"
    if not isinstance(cells, list) or len(cells) != num_classes:
        raise CellError(allowed)
    try:
        numbers = [read_cell(cell, pa.float64()) for cell in cells]
    except CellError as error:
        raise CellError(allowed) from error
    if any(number is None or not 0.0 <= number <= 1.0 for number in numbers) or abs(math.fsum(numbers) - 1.0) > MAX_SUM_ERROR:
        raise CellError(allowed)
    return [number / math.fsum(numbers) for number in numbers]


def most_probable(soft_label: Sequence[float] | None, classes: Sequence[str]) -> str | None:
    """The class of the one highest probability; a tie names no class."""
    if soft_label is None or list(soft_label).count(max(soft_label)) > 1:
        return None
    return classes[list(soft_label).index(max(soft_label))]
