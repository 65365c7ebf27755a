import numpy as np
import pytest

from mer_ray.encoders._pooling import pool_features, pool_in_time


def test_mean_and_deviation_are_taken_over_time_layer_by_layer() -> None:
    frames = {"long": np.array([[1, 10], [3, 10]], dtype=np.float32), "short": np.array([[5]], dtype=np.float32)}
    features = pool_features(frames, num_frames=2, frame_s=0.5, sequences=("long",), rate_hz=None)
    assert features.mean["long"].tolist() == [2, 10]
    assert features.std["long"].tolist() == [1, 0]
    assert features.mean["short"].tolist() == [5]
    assert features.std["short"].tolist() == [0]
    assert features.sequences["long"].tolist() == [[1, 10], [3, 10]]
    assert (features.num_frames, features.frame_s) == (2, 0.5)


@pytest.mark.parametrize(
    ("frame_s", "rate_hz", "expected"),
    [
        (0.1, 5.0, [0.5, 2.5, 4.5, 6.0]),
        (0.1, 10.0, [0, 1, 2, 3, 4, 5, 6]),
        (0.1, 4.0, [1, 3.5, 5.5]),
        (0.1, 0.5, [3.0]),
    ],
    ids=["two frames a window", "the frame rate itself", "windows of three and two", "one window"],
)
def test_windows_average_the_frames_that_start_in_them(frame_s: float, rate_hz: float, expected: list[float]) -> None:
    frames_TD = np.arange(7, dtype=np.float32)[:, None]
    assert pool_in_time(frames_TD, frame_s, rate_hz)[:, 0].tolist() == expected


def test_frames_on_a_border_belong_to_the_window_after_it() -> None:
    # 0.02 * 50 is 1.0000000000000002 or 0.9999999999999999 depending on the multiple.
    pooled = pool_in_time(np.arange(3000, dtype=np.float32)[:, None], 0.02, 25.0)
    assert pooled[:, 0].tolist() == [2 * window + 0.5 for window in range(1500)]


def test_values_of_long_sequences_keep_their_digits() -> None:
    frames_TD = np.full((200_000, 1), 1000.1, dtype=np.float32)
    features = pool_features({"layer": frames_TD}, len(frames_TD), 0.01, (), None)
    assert features.mean["layer"][0] == np.float32(1000.1)
    assert features.std["layer"][0] < 1e-6
