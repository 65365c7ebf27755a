import pytest
from store_samples import make_failures, make_record, make_rows

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_leases
from mer_ray.store.overview import compact_store, list_store
from mer_ray.store.writer import write_failures, write_features

RECORD = make_record(
    sequences=("low",), layers={"0": 8, "1": 8, "2": 8, "low": 3}, licence="MIT", versions={"torch": "2.14.1", "other": "1"}
)
OTHER = make_record("hubert", dtype="float32")


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    for clips in (["c1", "c2"], ["c2", "c3"]):
        write_features(store, "emodb", RECORD, make_rows(RECORD, clips))
    write_failures(store, "emodb", RECORD.key, make_failures(["c1", "bad"]))
    for corpus in ("emodb", "iemocap"):
        write_features(store, corpus, OTHER, make_rows(OTHER, ["c1"]))
    return store


def test_a_row_per_corpus_and_encoder_as_they_are_read(store):
    with hold_leases(store, "emodb", [RECORD.key], part=(1, 2)):
        table = list_store(store)
    rows = {row[:2]: row[2:5] + row[6:] for row in table.rows}
    assert rows == {
        ("emodb", RECORD.key): (3, 1, 3, "3 x 8, 1 x 3", "low", "float16"),
        ("emodb", OTHER.key): (1, 0, 1, "1 x 3, 1 x 5", "", "float32"),
        ("iemocap", OTHER.key): (1, 0, 1, "1 x 3, 1 x 5", "", "float32"),
    }
    assert all(0 < row[5] < 1 for row in table.rows)
    assert f"emodb {RECORD.key}: licence MIT, torch 2.14.1" in table.notes
    assert f"emodb {OTHER.key}: licence not recorded" in table.notes
    assert any(note.startswith(f"at work on emodb {RECORD.key}: the extraction of part 1/2 by process") for note in table.notes)


def test_compaction_of_all_or_of_one(store):
    table = compact_store(store, "emodb", "spectral")
    assert table.rows == (("emodb", RECORD.key, 3, 2, 2, 0),)
    assert len(compact_store(store).rows) == 3
    with pytest.raises(StoreError, match="no features of corpus msp; the store has emodb, iemocap"):
        compact_store(store, "msp")
    with pytest.raises(StoreError, match="emodb has no encoder clip; it has"):
        compact_store(store, "emodb", "clip")


def test_a_place_without_a_store(tmp_path):
    (tmp_path / "none" / ".cache").mkdir(parents=True)
    with pytest.raises(StoreError, match="no store, it holds no corpus; check the path"):
        list_store(open_store(tmp_path / "none"))
