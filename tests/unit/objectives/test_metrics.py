import math

import pytest
import torch

from mer_ray.objectives import Outcome, confusion, is_better, metric_names, per_class, score


def outcome(labels, predicted, values=(), value_labels=(), num_classes=3):
    return Outcome(
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(predicted, dtype=torch.int64),
        {"valence": torch.tensor(value_labels, dtype=torch.float32)} if value_labels else {},
        {"valence": torch.tensor(values, dtype=torch.float32)} if values else {},
        num_classes,
    )


def test_scores_by_hand():
    found = score(outcome([0, 0, 1, 1], [0, 1, 1, 1], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 6.0]))
    f1_0, f1_1 = 2 / 3, 4 / 5
    assert found["weighted_f1"] == pytest.approx((f1_0 + f1_1) / 2) and found["macro_f1"] == pytest.approx((f1_0 + f1_1) / 2)
    assert found["uar"] == pytest.approx(0.75) and found["accuracy"] == pytest.approx(0.75)
    assert found["valence_mse"] == pytest.approx(1.0)
    assert found["mer2023"] == pytest.approx(found["weighted_f1"] - 0.25)
    assert set(found) == set(metric_names(["valence"]))


def test_unknown_labels_take_no_part():
    known = outcome([0, 1, 2, 2], [0, 1, 2, 0], [1.0, 2.0, 0.0, 1.0], [1.5, 2.0, 0.5, 0.0])
    nan = float("nan")
    more = outcome([0, -1, 1, 2, 2], [0, 1, 1, 2, 0], [1.0, 9.0, 2.0, 0.0, 1.0], [1.5, nan, 2.0, 0.5, 0.0])
    assert score(more) == score(known) and confusion(more) == confusion(known)


def test_uar_leaves_out_classes_without_a_label():
    assert score(outcome([0, 0, 1], [0, 2, 1]))["uar"] == pytest.approx(0.75)


def test_no_labelled_clip_gives_no_metric():
    assert score(outcome([-1, -1], [0, 1])) == {}


def test_ccc_of_constant_predictions_is_zero_and_undefined_where_both_are_constant():
    assert score(outcome([0, 1], [0, 1], [1.0, 1.0], [0.0, 2.0]))["valence_ccc"] == 0
    assert "valence_ccc" not in score(outcome([0, 1], [0, 1], [1.0, 1.0], [1.0, 1.0]))
    assert "valence_ccc" not in score(outcome([0], [0], [1.0], [2.0]))


def test_confusion_has_labels_as_rows():
    assert confusion(outcome([0, 0, 2], [1, 0, 2])) == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_per_class_counts_support_and_gives_zero_where_undefined():
    rows = per_class(outcome([0, 0, 1], [0, 1, 1]))
    assert rows[0] == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2})
    assert rows[2] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_errors_are_better_low():
    assert is_better("valence_mse", 0.5, 0.6) and not is_better("weighted_f1", 0.5, 0.6) and not is_better("uar", 0.5, 0.5)
    assert not is_better("uar", math.nan, 0.5)
