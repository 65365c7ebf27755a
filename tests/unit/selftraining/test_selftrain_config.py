"""Faults of a config, and of what it names, are one line each before anything is trained."""

import pytest

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.selftraining.loading import load_selftrain_data

SPLITS = {"name": "splits", "test": ["test"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vote": {"name": "weighted", "weights": {"latte": 2}}}, "vote: no voter 'latte'; did you mean 'late'"),
        ({"vote": {"name": "prior_aware", "classes": ["worry"], "voters": ["late"]}}, "vote: no class 'worry'"),
        ({"selection": {"threshold": 1.5}}, "selection: threshold: 1.5 is no probability"),
        ({"selection": {"threshold": {"sad": 0.9}}}, "selection.threshold: name every class once"),
        ({"selection": {"from_dev": {"precision": 1.0}}}, "selection.from_dev.precision: input should be less than 1"),
        ({"selection": {"min_agreement": 3}}, r"selection.min_agreement: 3 of 2 voters \(teachers times seeds\) cannot agree"),
        ({"train": {"protocol": {"name": "folds"}}}, "train.protocol: self-training takes splits, not folds"),
        ({"train": {"protocol": SPLITS | {"dev": None}}}, "train.protocol.dev: dev chooses thresholds and the round"),
        ({"train": {"out": "elsewhere"}}, "train.out: runs lie below the self-training's own `out`"),
        ({"folds_as": {"val": [0]}}, "folds_as: 'val' is neither train.protocol.dev nor in train.protocol.test"),
        ({"train": {"candidates": [{"epochs": 2}]}}, "train.candidates: choose hyper-parameters first"),
        ({"unlabelled": ["dev"]}, "unlabelled: 'dev' is the split of train or dev"),
        ({"teachers": [{"name": "one"}, {"name": "one"}]}, "teachers: two have the same name"),
        ({"teachers": [{"name": "one", "changes": {"seeds": [1]}}]}, "teachers.0.changes: may not change seeds"),
        ({"teachers": [{"name": "one", "changes": {"modle.name": 1}}]}, "teacher one: modle: unknown key; did you mean 'model'"),
        ({"student": {"changes": {"protocol.dev": "x"}}}, "student.changes: may not change protocol"),
        ({"student": {"changes": {"inputs": [{"encoder": "planted_text"}]}}}, "student.changes: a student reads the inputs of its teacher"),
    ],
)
def test_a_fault_is_one_line(shifted, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_selftrain_data(shifted.config(tmp_path / "out", **changes))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unlabelled": ["unlabeled"]}, "unlabelled: the manifest has no clip of split 'unlabeled'; did you mean 'unlabelled'"),
        ({"folds_as": {"dev": [7]}}, "folds_as.dev: the split 'train' has no fold 7; it has none"),
        ({"train": {"protocol": SPLITS | {"dev": "nowhere"}}}, "protocol: the manifest has no split 'nowhere'"),
    ],
)
def test_splits_that_are_not_there_are_refused(shifted, tmp_path, changes, message):
    with pytest.raises(RunError, match=message):
        load_selftrain_data(shifted.config(tmp_path / "out", **changes))


def test_a_truth_without_the_unlabelled_clips_is_refused(shifted, tmp_path):
    (tmp_path / "truth.csv").write_text("clip_id,emotion\nother,sad\n")
    with pytest.raises(RunError, match="knows the emotion of no unlabelled clip"):
        load_selftrain_data(shifted.config(tmp_path / "out", truth=tmp_path / "truth.csv"))
