"""Who may judge a clip: models that neither trained nor stopped on it."""

import numpy as np
import pytest

from mer_ray.training.held_out import folds_held_out
from mer_ray.training.protocol import Partition


@pytest.mark.parametrize(("dev_decides", "expected"), [(False, {0: (), 1: ()}), (True, {0: (), 1: (), 2: ()})])
def test_dev_clips_of_a_split_are_seen_where_they_decided_on_something(dev_decides, expected):
    split = Partition(None, np.array([0, 1]), np.array([2]), {"test": np.array([3])})
    assert folds_held_out([split], dev_decides) == expected


def test_a_dev_fold_is_held_out_by_the_fold_that_tests_it_alone():
    folds = [Partition(fold, np.array([(fold + 2) % 3]), np.array([(fold + 1) % 3]), {"test": np.array([fold])}) for fold in range(3)]
    assert folds_held_out(folds, True) == {0: (0,), 1: (1,), 2: (2,)}
