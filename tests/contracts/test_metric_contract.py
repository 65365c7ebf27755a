"""Every metric: merged over k parts it equals one pass, and it equals scikit-learn (or the formula, where that has none)."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    mean_squared_error,
    precision_recall_fscore_support,
)

from mer_ray.objectives import Outcome, confusion, merge, metric_names, per_class, score

NUM_CLASSES = 6


def make(seed, num_clips=97, num_seen=NUM_CLASSES):
    random = np.random.default_rng(seed)
    label_N = random.integers(0, num_seen, num_clips)
    predicted_N = np.where(random.random(num_clips) < 0.5, label_N, random.integers(0, num_seen, num_clips))
    valence_N = random.normal(0, 2, num_clips).astype(np.float32)
    return Outcome(
        torch.tensor(label_N),
        torch.tensor(predicted_N),
        {"valence": torch.tensor(valence_N)},
        {"valence": torch.tensor((valence_N * 0.6 + random.normal(0.3, 1, num_clips)).astype(np.float32))},
        NUM_CLASSES,
    )


def concordance(x_N, y_N):
    covariance = np.cov(x_N, y_N)
    return 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (x_N.mean() - y_N.mean()) ** 2)


REFERENCES = {
    "weighted_f1": lambda o: f1_score(o.label_N, o.predicted_N, average="weighted"),
    "macro_f1": lambda o: f1_score(o.label_N, o.predicted_N, average="macro"),
    "uar": lambda o: balanced_accuracy_score(o.label_N, o.predicted_N),
    "accuracy": lambda o: accuracy_score(o.label_N, o.predicted_N),
    "valence_ccc": lambda o: concordance(o.values["valence"].double().numpy(), o.value_labels["valence"].double().numpy()),
    "valence_mse": lambda o: mean_squared_error(o.value_labels["valence"].double(), o.values["valence"].double()),
    "mer2023": lambda o: REFERENCES["weighted_f1"](o) - 0.25 * REFERENCES["valence_mse"](o),
}


def test_every_metric_has_a_reference():
    assert set(REFERENCES) == set(metric_names(["valence"]))


@pytest.mark.parametrize("num_seen", [NUM_CLASSES, 4])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_metric_equals_its_reference(name, num_seen):
    outcome = make(1, num_seen=num_seen)
    assert score(outcome)[name] == pytest.approx(float(REFERENCES[name](outcome)), abs=1e-9)


@pytest.mark.parametrize("num_parts", [2, 5, 97])
def test_parts_merged_equal_one_pass(num_parts):
    whole = make(2)
    rows = np.array_split(np.arange(97), num_parts)
    parts = [
        Outcome(
            whole.label_N[row],
            whole.predicted_N[row],
            {"valence": whole.value_labels["valence"][row]},
            {"valence": whole.values["valence"][row]},
            NUM_CLASSES,
        )
        for row in rows
    ]
    assert score(merge(parts)) == score(whole) and confusion(merge(parts)) == confusion(whole)


def test_counts_per_class_equal_scikit_learn():
    outcome = make(3)
    assert confusion(outcome) == confusion_matrix(outcome.label_N, outcome.predicted_N, labels=range(NUM_CLASSES)).tolist()
    expected = np.transpose(precision_recall_fscore_support(outcome.label_N, outcome.predicted_N, labels=range(NUM_CLASSES)))
    found = [[row[name] for name in ("precision", "recall", "f1", "support")] for row in per_class(outcome)]
    assert np.allclose(found, expected)
