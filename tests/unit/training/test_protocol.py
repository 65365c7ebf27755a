import numpy as np
import pytest
from training_corpus import make_corpus

from mer_ray.core.errors import RunError
from mer_ray.training.config import FoldsProtocol, SplitsProtocol
from mer_ray.training.loading import load_training_data
from mer_ray.training.protocol import inner_partitions, partitions


@pytest.fixture
def data(corpus):
    return load_training_data(corpus.config())


def sets(partition):
    return [
        set(partition.train.tolist()),
        set() if partition.dev is None else set(partition.dev.tolist()),
        *(set(rows.tolist()) for rows in partition.test.values()),
    ]


@pytest.mark.parametrize("dev", ["none", "next_fold"])
def test_every_clip_is_tested_once_and_parts_are_disjoint(data, dev):
    found = partitions(FoldsProtocol(dev=dev), data)
    assert [partition.fold for partition in found] == [0, 1, 2, 3]
    assert sorted(np.concatenate([partition.test["test"] for partition in found]).tolist()) == list(range(61))
    for partition in found:
        train, dev_rows, test = sets(partition)
        assert train | dev_rows | test == set(range(61)) and len(train) + len(dev_rows) + len(test) == 61
        assert bool(dev_rows) == (dev == "next_fold")


@pytest.mark.parametrize("dev", ["none", "next_fold"])
def test_the_inner_loop_never_sees_the_outer_test_fold(data, dev):
    protocol = FoldsProtocol(dev=dev)
    for outer in partitions(protocol, data):
        hidden = set(outer.test["test"].tolist())
        inner = inner_partitions(protocol, data, outer)
        assert len(inner) == 3
        tested = [row for partition in inner for row in partition.test["inner"].tolist()]
        assert sorted(tested) == sorted(set(range(61)) - hidden)
        for partition in inner:
            assert all(not part & hidden for part in sets(partition))


def test_splits_train_on_labelled_clips_only_and_predict_all(tmp_path):
    data = load_training_data(make_corpus(tmp_path, change={5: {"emotion": None, "valence": None}}).config(protocol={"name": "splits"}))
    (found,) = partitions(SplitsProtocol(name="splits"), data)
    assert 5 not in {int(data.clip_ids[row][4:]) for row in found.train} and len(found.train) == 30
    assert (len(found.dev), len(found.test["test"])) == (15, 15)
    (inner,) = inner_partitions(SplitsProtocol(name="splits"), data, found)
    assert inner.test["inner"].tolist() == found.dev.tolist()


def test_a_training_part_without_labels_is_refused(tmp_path):
    blank = {number: {"emotion": None, "valence": None} for number in range(61) if number % 2}
    data = load_training_data(make_corpus(tmp_path, num_folds=2, change=blank).config())
    with pytest.raises(RunError, match="no labelled clip in the training part of fold 0"):
        partitions(FoldsProtocol(), data)


def test_a_dev_fold_without_labels_is_refused(tmp_path):
    blank = {number: {"emotion": None, "valence": None} for number in range(61) if number % 4 == 1}
    data = load_training_data(make_corpus(tmp_path, change=blank).config())
    with pytest.raises(RunError, match=r"fold 0, dev: no clip with a known emotion or value"):
        partitions(FoldsProtocol(dev="next_fold"), data)


def test_a_dev_fold_with_values_alone_can_stop_a_training(tmp_path):
    blank = {number: {"emotion": None} for number in range(61)}
    corpus = make_corpus(tmp_path, change=blank)
    found = partitions(FoldsProtocol(dev="next_fold"), load_training_data(corpus.config()))
    assert all(len(partition.dev) for partition in found)


def test_an_unknown_split_lists_those_that_are_there(data):
    with pytest.raises(RunError, match="no split 'validation'; it has dev, test, train"):
        partitions(SplitsProtocol(name="splits", dev="validation"), data)


def test_too_few_folds_are_refused(tmp_path):
    data = load_training_data(make_corpus(tmp_path, num_folds=2).config())
    with pytest.raises(RunError, match="needs at least 3 folds, the manifest has 2"):
        partitions(FoldsProtocol(dev="next_fold"), data)
    with pytest.raises(RunError, match="inner loop over at least 2 folds"):
        inner_partitions(FoldsProtocol(), data, partitions(FoldsProtocol(), data)[0])
