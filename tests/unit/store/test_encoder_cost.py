from pathlib import Path

import pytest
from store_samples import make_record, make_rows

from mer_ray.core.errors import StoreError
from mer_ray.store.checking import check_store
from mer_ray.store.encoder_cost import EncoderCost, find_cost, note_cost
from mer_ray.store.layout import open_store
from mer_ray.store.writer import write_features


def test_the_measurement_of_the_most_clips_stays(tmp_path):
    store, record = open_store(tmp_path), make_record()
    write_features(store, "emodb", record, make_rows(record, ["c1"]))
    assert find_cost(store, "emodb", record.key) is None
    note_cost(store, "emodb", record.key, EncoderCost(device="cuda", num_clips=200, device_s=3.0))
    note_cost(store, "emodb", record.key, EncoderCost(device="cpu", num_clips=5, device_s=100.0))
    found = find_cost(store, "emodb", record.key)
    assert (found.device, found.milliseconds_per_clip) == ("cuda", 15.0)
    note_cost(store, "emodb", record.key, EncoderCost(device="cpu", num_clips=200, device_s=1.0))
    assert find_cost(store, "emodb", record.key).device == "cpu"
    assert check_store(store).faults == []


def test_a_damaged_measurement_is_told(tmp_path):
    store, record = open_store(tmp_path), make_record()
    write_features(store, "emodb", record, make_rows(record, ["c1"]))
    Path(store.cost_path("emodb", record.key)).write_text('{"device": "cpu"}')
    with pytest.raises(StoreError, match=r"_cost\.json: not a measurement"):
        find_cost(store, "emodb", record.key)
