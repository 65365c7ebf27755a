import math

import pyarrow as pa
import pytest

from mer_ray.corpora.cells import CellError, read_cell


@pytest.mark.parametrize("kind", [pa.string(), pa.float32(), pa.int32()])
@pytest.mark.parametrize("cell", [None, "", "  ", "nan", "NaN", math.nan])
def test_empty_and_nan_are_unknown(cell: object, kind: pa.DataType):
    assert read_cell(cell, kind) is None


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("-1.5", pa.float32(), -1.5),
        (" 2 ", pa.float64(), 2.0),
        (3, pa.float64(), 3.0),
        ("inf", pa.float32(), math.inf),
        ("4.0", pa.int32(), 4),
        (4.0, pa.int32(), 4),
        (7, pa.string(), "7"),
        (7.0, pa.string(), "7"),
        (" ja ", pa.string(), " ja "),
    ],
)
def test_cells_become_their_columns_type(cell: object, kind: pa.DataType, value: object):
    assert read_cell(cell, kind) == value


@pytest.mark.parametrize(
    ("cell", "kind", "allowed"),
    [
        ("1,5", pa.float32(), "decimal point"),
        ("high", pa.float32(), "decimal point"),
        ("1_0", pa.float32(), "decimal point"),
        (True, pa.float32(), "decimal point"),
        (b"x", pa.float32(), "decimal point"),
        ("1.5", pa.int32(), "whole number"),
        ("inf", pa.int32(), "whole number"),
        ("3000000000", pa.int32(), "at most 2147483647"),
        (["a"], pa.string(), "text"),
        (True, pa.string(), "text"),
    ],
)
def test_a_cell_of_another_type_says_what_is_allowed(cell: object, kind: pa.DataType, allowed: str):
    with pytest.raises(CellError, match=allowed):
        read_cell(cell, kind)
