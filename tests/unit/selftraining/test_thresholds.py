import numpy as np
import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.selftraining.config import SelectionConfig, ThresholdsFromDev
from mer_ray.selftraining.thresholds import fixed_thresholds, lower_bound, thresholds_from_dev

CLASSES = ("calm", "sad")


def test_thresholds_are_one_for_all_or_one_per_class():
    assert fixed_thresholds(SelectionConfig(), CLASSES).tolist() == [0.9, 0.9]
    assert fixed_thresholds(SelectionConfig(threshold=0.8), CLASSES).tolist() == [0.8, 0.8]
    assert fixed_thresholds(SelectionConfig(threshold={"sad": 0.85, "calm": 0.99}), CLASSES).tolist() == [0.99, 0.85]


def found(confidence, is_right, weight=None, label=None, **wanted):
    """The thresholds where all are predicted calm and wrong ones are sad."""
    confidence_N, is_right_N = np.array(confidence), np.array(is_right, dtype=bool)
    label_N = np.where(is_right_N, 0, 1) if label is None else np.array(label)
    weight_N = np.ones(len(confidence_N)) if weight is None else np.array(weight, dtype=float)
    how = ThresholdsFromDev(level=0.5, **wanted)
    return thresholds_from_dev(how, np.zeros(len(confidence_N), dtype=int), confidence_N, label_N, weight_N, 2).tolist()


def test_the_threshold_is_the_lowest_that_keeps_the_precision():
    """Right, right, right, wrong, right from above: 3 of 3, 3 of 4, 4 of 5."""
    confidence, is_right = [0.95, 0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0, 1]
    assert found(confidence, is_right, precision=0.8)[0] == 0.6
    assert found(confidence, is_right, precision=0.9)[0] == 0.8
    assert found(confidence[::-1], is_right[::-1], precision=0.9)[0] == 0.8


def test_equal_confidences_are_taken_together():
    assert found([0.9, 0.7, 0.7], [1, 1, 0], precision=0.8)[0] == 0.9


def test_clips_without_a_label_take_no_part():
    assert found([0.95, 0.9, 0.8], [1, 0, 1], label=[0, -1, 0], precision=0.99)[0] == 0.8


def test_a_class_that_no_threshold_saves_or_that_nobody_predicts_gets_none():
    first, second = found([0.95, 0.9], [0, 0], precision=0.5)
    assert np.isnan(first)
    assert np.isnan(second)


def test_one_threshold_for_all_counts_all_classes():
    assert found([0.95, 0.9, 0.8], [1, 1, 0], precision=0.9, per="all") == [0.9, 0.9]


def test_weights_are_shares_of_the_precision():
    """The wrong clip stands for a ninth of a clip: 2 of 2.11."""
    assert found([0.95, 0.9, 0.8], [1, 1, 0], weight=[1, 1, 1 / 9], precision=0.9)[0] == 0.8


def test_the_bound_is_wilsons_and_asks_for_enough_clips():
    """For k of k right the lower end is k / (k + z^2); z = 1.6449 at 0.95."""
    bounds = lower_bound(np.array([1.0, 1.0, 0.5]), np.array([5.0, 50.0, 10.0]), 0.95)
    assert bounds.tolist() == pytest.approx([5 / (5 + 2.7055), 50 / (50 + 2.7055), 0.2693], abs=2e-4)
    right_N = np.zeros(30, dtype=int)
    confidence_N = np.linspace(0.99, 0.7, 30)
    how = ThresholdsFromDev(precision=0.9, level=0.8)
    few, many = (thresholds_from_dev(how, right_N[:n], confidence_N[:n], right_N[:n], np.ones(n), 1)[0] for n in (5, 30))
    assert np.isnan(few)
    assert many == pytest.approx(0.7)


def test_a_threshold_is_given_or_found():
    with pytest.raises(ValueError, match="leave one of the two out"):
        SelectionConfig(threshold=0.9, from_dev=ThresholdsFromDev())


def test_thresholds_name_every_class(shifted, tmp_path):
    config = shifted.config(tmp_path, selection={"threshold": {"happy": 0.9}})
    with pytest.raises(ConfigError, match=r"selection\.threshold: name every class once: calm, sad; given: happy"):
        config.check_classes(CLASSES)
