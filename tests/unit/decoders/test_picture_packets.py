from dataclasses import dataclass

import pytest

from mer_ray.decoders.picture_packets import needed_runs


@dataclass
class Picture:
    pts: int
    is_keyframe: bool = False
    is_discard: bool = False
    dts: int | None = None


def stream(*pictures: int) -> list[Picture]:
    """Pictures in decoding order by their time; key frames are negative."""
    return [Picture(abs(time), time <= 0) for time in pictures]


CLOSED = stream(0, 3, 1, 2, -4, 7, 5, 6, -8, 11, 9, 10)
OPEN = stream(0, 3, 1, 2, -6, 4, 5, 9, 7, 8)


@pytest.mark.parametrize(
    ("packets", "wanted", "runs"),
    [
        (CLOSED, {1}, [[0, 3, 1]]),
        (CLOSED, {0}, [[0]]),
        (CLOSED, {5}, [[4, 7, 5]]),
        (CLOSED, {3, 10}, [[0, 3], [8, 11, 9, 10]]),
        (CLOSED, set(), []),
        (OPEN, {6}, [[6]]),
        (OPEN, {9}, [[6, 4, 5, 9]]),
        (OPEN, {4}, [[0, 3, 1, 2, 6, 4]]),
        (OPEN, {1, 5}, [[0, 3, 1, 2, 6, 4, 5]]),
        (stream(5, 3, -6, 7), {3, 7}, [[5, 3], [6, 7]]),
    ],
)
def test_runs(packets: list[Picture], wanted: set[int], runs: list[list[int]]) -> None:
    assert [[packet.pts for packet in run] for run in needed_runs(packets, wanted)] == runs


def test_pictures_outside_of_the_edit_are_not_wanted() -> None:
    packets = stream(0, 1, 2)
    packets[2].is_discard = True
    assert [[packet.pts for packet in run] for run in needed_runs(packets, {1, 2})] == [[0, 1]]
