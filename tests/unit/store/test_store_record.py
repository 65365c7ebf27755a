import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from store_samples import make_record, make_rows

from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import list_encoders, resolve_encoder
from mer_ray.store.layout import open_store
from mer_ray.store.record import find_record, write_record
from mer_ray.store.writer import write_features


def test_record_round_trips_with_layers_in_order(tmp_path):
    store = open_store(tmp_path)
    layers = {f"layer_{index}": 4 for index in (10, 9, 1, 0)}
    record = make_record(
        layers=layers, sequences=("layer_9",), rate_hz=2.5, dtype="float32", versions={"torch": "2"}, weights_digest="d", licence="MIT"
    )
    write_record(store, "emodb", record)
    found = find_record(store, "emodb", record.key)
    assert found == record
    assert list(found.layers) == list(layers)
    assert find_record(store, "emodb", "other@00000000") is None
    assert [path.name for path in Path(store.part_folder("emodb", record.key, "features")).iterdir()] == ["_encoder.json"]


def test_same_encoder_with_newer_versions_keeps_the_first_record(tmp_path):
    store = open_store(tmp_path)
    write_record(store, "emodb", make_record(versions={"torch": "1"}, config={"device": "cpu"}))
    write_record(store, "emodb", make_record(versions={"torch": "2"}, config={"device": "cuda"}))
    assert find_record(store, "emodb", make_record().key).versions == {"torch": "1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": {"low": 3, "high": 6}},
        {"layers": {"high": 5, "low": 3}},
        {"dtype": "float32"},
        {"sequences": ("low",)},
        {"weights_digest": "e"},
    ],
)
def test_another_encoder_under_the_same_key_is_refused(tmp_path, changes):
    store = open_store(tmp_path)
    write_record(store, "emodb", make_record())
    with pytest.raises(StoreError, match=rf"_encoder.json: describes another encoder under the same key: {next(iter(changes))} differ"):
        write_features(store, "emodb", make_record(**changes), make_rows(make_record(**changes), ["c1"]))
    assert find_record(store, "emodb", make_record().key) == make_record()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": "spectral@deadbeef"}, "must be"),
        ({"layers": {"a.b": 3}}, "a column's name"),
        ({"layers": {}}, "at least 1"),
        ({"sequences": ("middle",)}, "which are no layers; layers: low, high"),
        ({"identity": "12"}, "pattern"),
    ],
)
def test_impossible_records_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        make_record(**changes)


def test_a_broken_record_is_named(tmp_path):
    store = open_store(tmp_path)
    record = make_record()
    write_record(store, "emodb", record)
    path = Path(store.record_path("emodb", record.key))
    path.write_text(json.dumps({**json.loads(path.read_text()), "modality": "smell"}))
    with pytest.raises(StoreError, match=r"_encoder.json: not a record of an encoder \(modality"):
        find_record(store, "emodb", record.key)
    path.write_text("")
    with pytest.raises(StoreError, match=r"_encoder.json: not a record"):
        list_encoders(store, "emodb")


def test_encoders_are_found_by_name_or_key(tmp_path):
    store = open_store(tmp_path)
    first, second, other = make_record(seed="1"), make_record(seed="2"), make_record(name="hubert")
    for record in (first, second, other):
        write_record(store, "emodb", record)
    Path(store.part_folder("emodb", "empty@00000000", "features")).mkdir()
    assert [record.key for record in list_encoders(store, "emodb")] == sorted([first.key, second.key, other.key])
    assert resolve_encoder(store, "emodb", "hubert") == other
    assert resolve_encoder(store, "emodb", second.key) == second
    with pytest.raises(StoreError, match="2 encoders named spectral; write one of") as caught:
        resolve_encoder(store, "emodb", "spectral")
    assert first.key in str(caught.value)
    assert second.key in str(caught.value)
    with pytest.raises(
        StoreError, match=f"has no encoder clip; it has {other.key}.*; name one of these, or extract it with `mer-ray extract`"
    ):
        resolve_encoder(store, "emodb", "clip")
    with pytest.raises(StoreError, match=r"no features of corpus iemocap; the store has emodb; run `mer-ray extract` first"):
        resolve_encoder(store, "iemocap", "hubert")
    with pytest.raises(StoreError, match="the store has nothing yet"):
        resolve_encoder(open_store(tmp_path / "none"), "iemocap", "hubert")


def test_parts_without_their_record_are_named(tmp_path):
    store = open_store(tmp_path)
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["c1"]))
    Path(store.record_path("emodb", record.key)).unlink()
    with pytest.raises(StoreError, match=r"_encoder.json: is missing beside its parts"):
        list_encoders(store, "emodb")


def test_copies_for_degraded_media_are_told_apart_from_clean_encoders(tmp_path):
    store = open_store(tmp_path)
    clean, copy = make_record(seed="1"), make_record(seed="2", config={"name": "spectral", "degrade": {"blur": 2.0}})
    for record in (clean, copy):
        write_record(store, "emodb", record)
    with pytest.raises(
        StoreError, match=f"no encoder hubert; it has {clean.key}; copies for degraded media: {copy.key}; name one of these"
    ):
        resolve_encoder(store, "emodb", "hubert")
