"""Confident learning, against a case computed by hand."""

import numpy as np

from mer_ray.finetuning.label_errors import find_label_errors

PROBS = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.8, 0.1, 0.1],
        # Labelled 0, looks like 1: above 1's threshold, the mean of 0.7, 0.6 and 0.3.
        [0.2, 0.8, 0.0],
        [0.3, 0.7, 0.0],
        [0.4, 0.6, 0.0],
        # Labelled 1, below its own threshold, but 0.65 is above that of 0: (0.9 + 0.8 + 0.2) / 3.
        [0.65, 0.3, 0.05],
        # Unknown.
        [0.0, 0.0, 1.0],
    ],
    np.float32,
)
LABELS = np.array([0, 0, 0, 1, 1, 1, -1])


def test_labels_beyond_the_thresholds_of_other_classes_are_listed_least_probable_first():
    found = find_label_errors(PROBS, LABELS)
    assert [(one.row, one.label, one.suspected) for one in found] == [(2, 0, 1), (5, 1, 0)]
    assert found[0].label_probability == np.float32(0.2) and found[0].suspected_probability == np.float32(0.8)


def test_doubt_alone_is_no_suspicion():
    # The clip's own label is improbable, but no other class reaches its threshold.
    probs = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.1, 0.9]], np.float32)
    assert find_label_errors(probs, np.array([0, 0, 1, 1])) == []


def test_a_class_without_clips_is_never_suspected():
    probs = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]], np.float32)
    assert find_label_errors(probs, np.array([0, 1])) == []
