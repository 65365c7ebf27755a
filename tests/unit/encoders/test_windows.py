import numpy as np
import pytest

from mer_ray.encoders._windows import Window, cut_windows, merge_statistics


def test_a_clip_that_fits_is_one_window() -> None:
    assert cut_windows(100, 100, 20) == [Window(0, 100, 0, 100)]
    assert cut_windows(1, 100, 20) == [Window(0, 1, 0, 1)]


def test_a_frame_more_makes_two_full_windows() -> None:
    assert cut_windows(101, 100, 20) == [Window(0, 100, 0, 50), Window(1, 101, 50, 101)]


@pytest.mark.parametrize(("max_frames", "min_overlap"), [(100, 20), (100, 0), (100, 99), (7, 3), (1, 0)])
def test_every_frame_is_kept_exactly_once_with_its_context(max_frames: int, min_overlap: int) -> None:
    for num_frames in range(1, 350):
        windows = cut_windows(num_frames, max_frames, min_overlap)
        kept = [frame for window in windows for frame in range(window.keep_start, window.keep_stop)]
        assert kept == list(range(num_frames))
        for window in windows:
            assert 0 <= window.start <= window.keep_start < window.keep_stop <= window.stop <= num_frames
            assert window.num_frames == min(num_frames, max_frames)
            assert window.num_kept == window.keep_stop - window.keep_start
            assert window.first_kept == window.keep_start - window.start
            assert window.keep_start == 0 or window.first_kept >= min_overlap // 2
            assert window.keep_stop == num_frames or window.stop - window.keep_stop >= min_overlap // 2


def test_no_more_windows_than_the_overlap_needs() -> None:
    assert len(cut_windows(180, 100, 20)) == 2
    assert len(cut_windows(181, 100, 20)) == 3


def test_merged_statistics_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    frames_TLD = (rng.standard_normal((1001, 3, 5)) * rng.uniform(0.1, 10, 5) + 7).astype(np.float32)
    windows = cut_windows(1001, 100, 20)
    kept = [frames_TLD[window.keep_start : window.keep_stop] for window in windows]
    mean_LD, std_LD = merge_statistics(
        [len(part) for part in kept], [part.mean(axis=0) for part in kept], [part.std(axis=0) for part in kept]
    )
    assert mean_LD.dtype == std_LD.dtype == np.float32
    assert np.allclose(mean_LD, frames_TLD.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert np.allclose(std_LD, frames_TLD.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_one_window_keeps_its_bits() -> None:
    mean_LD, std_LD = np.full((2, 3), 0.1, dtype=np.float32), np.full((2, 3), 0.3, dtype=np.float32)
    merged = merge_statistics([4], [mean_LD], [std_LD])
    assert merged[0] is mean_LD
    assert merged[1] is std_LD
