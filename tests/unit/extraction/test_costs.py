"""Costs from observations, and what a plan makes of them."""

import pytest

from mer_ray.extraction.costs import Line, Observation, fit_line


def observe(line: Line, counts: list[tuple[int, float]], *, per_part: bool) -> list[Observation]:
    return [Observation("x", clips, seconds, line.total(int(per_part), clips, seconds)) for clips, seconds in counts]


COUNTS = [(4, 8.0), (4, 16.0), (4, 40.0), (1, 3.0), (9, 21.0)]


@pytest.mark.parametrize("line", [Line(0.0, 0.5, 0.0), Line(0.0, 0.0, 0.1), Line(0.0, 0.2, 0.05)])
def test_costs_by_clip_and_by_second_are_told_apart(line: Line):
    found = fit_line(observe(line, COUNTS, per_part=False), has_parts=False)
    assert found.total(0, 1000, 50.0) == pytest.approx(line.total(0, 1000, 50.0), rel=1e-6, abs=1e-6)
    assert found.total(0, 10, 5000.0) == pytest.approx(line.total(0, 10, 5000.0), rel=1e-6, abs=1e-6)


def test_the_bytes_of_a_part_are_told_from_those_of_its_clips():
    line = Line(9000.0, 350.0, 120.0)
    found = fit_line(observe(line, COUNTS, per_part=True), has_parts=True)
    assert found.total(3, 700, 2500.0) == pytest.approx(line.total(3, 700, 2500.0), rel=1e-6)


def test_noise_never_makes_a_cost_negative():
    noisy = [Observation("x", clips, seconds, 1.0 + 0.3 * (number % 2)) for number, (clips, seconds) in enumerate(COUNTS)]
    found = fit_line(noisy, has_parts=True)
    assert min(found.per_part, found.per_clip, found.per_second) >= 0


def test_what_costs_nothing_is_nothing():
    assert fit_line([Observation("fetch", 3, 10.0, 0.0)], has_parts=False) == Line(0.0, 0.0, 0.0)
