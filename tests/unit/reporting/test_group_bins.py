import numpy as np
import pytest

from mer_ray.reporting.group_bins import face_bins, quantile_bins


def bins_of(numbers: list[float]) -> tuple[list[str], list[str]]:
    named, order = quantile_bins({str(place): number for place, number in enumerate(numbers)}, "s")
    return list(named.values()), order


def test_a_value_on_an_edge_belongs_below_it() -> None:
    named, order = bins_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert order == ["up to 2.0 s", "2.0 to 3.0 s", "3.0 to 4.0 s", "over 4.0 s"]
    assert named == [order[0], order[0], order[1], order[2], order[3]]


def test_edges_are_written_with_as_many_digits_as_they_need() -> None:
    assert bins_of(list(np.linspace(2.0, 2.1, 101)))[1] == ["up to 2.02 s", "2.02 to 2.05 s", "2.05 to 2.08 s", "over 2.08 s"]
    assert bins_of([-3.0, -2.0, -1.0, 0.0, 1.0])[1][0] == "up to −2.0 s"


@pytest.mark.parametrize("numbers", [[2.0] * 9, [1.0, 1.0, 1.0, 2.0], [1.0, 2.0, 2.0, 2.0, 2.0], [5.0], []])
def test_every_bin_of_many_equal_values_has_clips(numbers: list[float]) -> None:
    named, order = bins_of(numbers)
    assert set(named) <= set(order)
    if numbers and len(order) > 1:
        assert set(named) == set(order)


def test_faces() -> None:
    named, order = face_bins({"a": 0.0, "b": 0.49, "c": 0.5, "d": 0.999, "e": 1.0})
    assert [order.index(name) for name in named.values()] == [0, 1, 2, 2, 3]
