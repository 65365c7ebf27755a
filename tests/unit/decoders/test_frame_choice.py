import numpy as np
import pytest

from mer_ray.core.media_types import FrameFormat
from mer_ray.decoders.frame_choice import choose_frames

TIMES_P = np.arange(50) / 25


def chosen(frame_format: FrameFormat, times_P: np.ndarray = TIMES_P, begin_s: float = 0.0, end_s: float = 2.0) -> list[int]:
    return choose_frames(frame_format, times_P, begin_s, end_s).tolist()


def test_centres_of_equal_intervals() -> None:
    assert chosen(FrameFormat(8, num_frames=1)) == [25]
    assert chosen(FrameFormat(8, num_frames=2)) == [12, 37]
    assert chosen(FrameFormat(8, num_frames=4)) == [6, 18, 31, 43]


@pytest.mark.parametrize("num_frames", [50, 51, 77, 100, 1000])
def test_all_pictures_once_where_more_are_asked_for(num_frames: int) -> None:
    assert chosen(FrameFormat(8, num_frames=num_frames)) == list(range(50))


@pytest.mark.parametrize("num_frames", range(1, 50))
def test_exact_count_where_there_are_enough(num_frames: int) -> None:
    indices = chosen(FrameFormat(8, num_frames=num_frames))
    assert len(indices) == num_frames
    assert np.ptp(np.diff(indices)) <= 1 if num_frames > 2 else True


def test_rate() -> None:
    assert chosen(FrameFormat(8, rate_hz=5.0)) == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47]
    assert chosen(FrameFormat(8, rate_hz=25.0)) == list(range(50))
    assert chosen(FrameFormat(8, rate_hz=100.0)) == list(range(50))


def test_rate_slower_than_the_clip_gives_its_middle() -> None:
    assert chosen(FrameFormat(8, rate_hz=0.1)) == [25]


def test_one_picture() -> None:
    for frame_format in (FrameFormat(8, num_frames=16), FrameFormat(8, rate_hz=2.0)):
        assert chosen(frame_format, np.zeros(1), 0.0, 0.04) == [0]


def test_the_picture_on_screen_counts_however_long_it_stays() -> None:
    times_P = np.array([0.0, 0.1, 0.2, 1.9])
    assert chosen(FrameFormat(8, num_frames=2), times_P) == [2]
    assert chosen(FrameFormat(8, num_frames=20), times_P) == [0, 1, 2, 3]


def test_segment_that_begins_between_two_pictures_begins_with_the_one_on_screen() -> None:
    assert chosen(FrameFormat(8, rate_hz=25.0), begin_s=1.01, end_s=1.13) == [25, 26, 27]
