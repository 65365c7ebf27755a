"""One cell of a table becomes a manifest value: text, numbers, and what counts as unknown."""

import math
from typing import Any

import pyarrow as pa

_UNKNOWN = frozenset({"", "nan", "NaN"})


class CellError(ValueError):
    """A cell that is not of its column's type; the message says what is allowed."""


def is_unknown(cell: Any) -> bool:
    """Whether a cell says nothing: null, empty or blank, or NaN, which exports write for null."""
    if isinstance(cell, str):
        return cell.strip() in _UNKNOWN
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def read_cell(cell: Any, kind: pa.DataType) -> Any:
    """Convert a cell to a manifest column's type; unknown cells become None.

    Raises:
        CellError: the cell does not fit the type.

    """
    if is_unknown(cell):
        return None
    if pa.types.is_string(kind):
        return _read_text(cell)
    number = _read_number(cell)
    if pa.types.is_integer(kind):
        largest = 2 ** (kind.bit_width - 1) - 1
        if not number.is_integer() or abs(number) > largest:
            raise CellError(f"a whole number of at most {largest}, or empty for unknown")
        return int(number)
    return number


def _read_text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))  # a column of whole numbers with gaps comes as floats
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return str(cell)
    raise CellError("text, or empty for unknown")


def _read_number(cell: Any) -> float:
    # Python reads `1_0` as 10, which no table means.
    if isinstance(cell, (int, float, str)) and not isinstance(cell, bool) and "_" not in str(cell):
        try:
            return float(cell)
        except ValueError:
            pass
    raise CellError("a number with a decimal point, or empty for unknown")
