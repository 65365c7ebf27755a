"""Streams whose columns stay in the features' arrays give the batches of those that were copied, bit by bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_corpus import make_corpus

from mer_ray.batching import collate
from mer_ray.training.device_clips import DeviceClips
from mer_ray.training.loading import load_training_data
from mer_ray.tuning.search_data import read_search_data


@pytest.mark.parametrize("combine", ["concat", "separate"])
@pytest.mark.parametrize("normalise", ["train", "speaker"])
def test_batches_are_the_same(tmp_path: Path, combine: str, normalise: str) -> None:
    corpus = make_corpus(tmp_path)
    config = corpus.config(inputs=[{"encoder": "tone", "combine": combine}, {"encoder": "face"}], normalise=normalise)
    copied = load_training_data(config)
    in_place = read_search_data({"inputs": [{"encoder": "tone"}, {"encoder": "face"}]}, config, "train").of(config)
    train = np.flatnonzero(copied.folds_N != 0)
    rows = torch.arange(7, 20)

    banks, _ = DeviceClips(in_place, config.normalise, torch.device("cpu")).normalised(train)
    wanted, _ = DeviceClips(copied, config.normalise, torch.device("cpu")).normalised(train)
    found = collate(banks, rows, {})

    assert set(banks.pooled) == {spec.name for spec in copied.specs}
    assert in_place.specs == copied.specs
    for name, x_BD in collate(wanted, rows, {}).streams.items():
        assert torch.equal(found.streams[name], x_BD)
    assert not all(present.all() for present in found.present.values())


def test_columns_share_the_memory_of_the_features(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    config = corpus.config()
    data = read_search_data({"inputs": [{"encoder": "tone"}, {"encoder": "face"}]}, config, "train")

    banks, _ = DeviceClips(data.of(config), "train", torch.device("cpu")).normalised(np.arange(40))

    assert banks.pooled["tone"].columns[0].data_ptr() == data.features["tone"].columns["mean_low"].ctypes.data
