import numpy as np
import pytest

from mer_ray.bench import store as bench_store
from mer_ray.bench.figure import Figure
from mer_ray.core.errors import StoreError


def test_both_sides_are_measured_on_the_same_values(monkeypatch):
    monkeypatch.setattr(bench_store, "NUM_CLIPS", 40)
    monkeypatch.setattr(bench_store, "CLIPS_PER_PART", 15)
    monkeypatch.setattr(bench_store, "NUM_ROUNDS", 1)
    bytes_figure, read_figure = bench_store.measure_store()
    assert (bytes_figure.name, bytes_figure.better, bytes_figure.bar) == ("store.bytes_over_npy", "lower", 0.5)
    assert (read_figure.name, read_figure.better, read_figure.bar) == ("store.read_over_npy", "higher", 5)
    # Three footers weigh more on 40 clips than on 2,000; half the bytes are the values themselves.
    assert 0.48 < bytes_figure.value < 0.6
    assert read_figure.value > 0


def test_a_reader_that_gives_other_values_is_not_timed():
    expected = {"mean_layer_0": np.zeros((2, 3), np.float32)}
    with pytest.raises(StoreError, match="the npy reader gave other values"):
        bench_store._time_alternating({"npy": lambda: {"mean_layer_0": np.ones((2, 3), np.float32)}}, expected)


@pytest.mark.parametrize(
    ("better", "bar", "value", "text", "verdict"),
    [
        ("lower", 0.5, 0.5, "<= 0.5", "ok"),
        ("lower", 0.5, 0.51, "<= 0.5", "MISSED"),
        ("higher", 5, 5.0, ">= 5", "ok"),
        ("higher", 5, 4.9, ">= 5", "MISSED"),
        ("higher", None, 1.0, "", ""),
    ],
)
def test_a_figure_knows_whether_it_reaches_its_bar(better, bar, value, text, verdict):
    figure = Figure("x.y", value, "s", better, bar, "how")
    assert (figure.bar_text(), figure.verdict()) == (text, verdict)
    assert figure.to_json() == {"name": "x.y", "value": value, "unit": "s", "better": better, "bar": bar, "note": "how"}
