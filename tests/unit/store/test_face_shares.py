from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from store_samples import make_record, make_rows

from mer_ray.core.errors import EncoderError, StoreError
from mer_ray.core.media_types import Features
from mer_ray.store.compaction import compact
from mer_ray.store.face_shares import read_face_shares
from mer_ray.store.layout import Store, open_store
from mer_ray.store.reader import read_pooled
from mer_ray.store.record import EncoderRecord, find_record
from mer_ray.store.writer import FeatureRow, write_features

SHARES = {"all": 0.0, "some": 0.25, "none": 1.0}


@pytest.fixture
def record() -> EncoderRecord:
    return make_record("resnet_fer", modality="vision", detects_faces=True)


@pytest.fixture
def store(tmp_path: Path, record: EncoderRecord) -> Store:
    """Three clips with pictures, one of them without a face, and one without pictures."""
    opened = open_store(tmp_path)
    with_faces = make_rows(record, ["all", "some"], num_frames=4)
    rows = [replace(row, features=replace(row.features, no_face_share=SHARES[row.clip_id])) for row in with_faces]
    rows += [FeatureRow("none", "a", Features(0, 0.0, no_face_share=1.0)), FeatureRow("sound_only", "a", Features(0, 0.0))]
    write_features(opened, "corpus", record, rows)
    return opened


def test_shares_are_read_as_written(store: Store, record: EncoderRecord) -> None:
    shares = read_face_shares(store, "corpus", record)
    assert shares.clip_ids == ("all", "none", "some", "sound_only")
    np.testing.assert_array_equal(shares.no_face_share, np.array([0, 1, 0.25, np.nan], np.float32))
    assert find_record(store, "corpus", record.key) == record


def test_a_clip_without_a_face_is_stored_as_one_that_lacks_the_modality(store: Store, record: EncoderRecord) -> None:
    features = read_pooled(store, "corpus", record)
    assert dict(zip(features.clip_ids, features.present.tolist(), strict=True)) == {
        "all": True,
        "none": False,
        "some": True,
        "sound_only": False,
    }


def test_the_newest_row_counts_and_compaction_keeps_it(store: Store, record: EncoderRecord) -> None:
    (row,) = make_rows(record, ["some"], input_hash="b", num_frames=4)
    write_features(store, "corpus", record, [replace(row, features=replace(row.features, no_face_share=0.5))])
    assert read_face_shares(store, "corpus", record).no_face_share[2] == 0.5
    compact(store, "corpus", record.key)
    shares = read_face_shares(store, "corpus", record)
    np.testing.assert_array_equal(shares.no_face_share, np.array([0, 1, 0.5, np.nan], np.float32))


def test_only_encoders_that_look_for_faces_have_the_column(tmp_path: Path, store: Store, record: EncoderRecord) -> None:
    other = make_record("gradient", modality="vision")
    write_features(store, "corpus", other, make_rows(other, ["all"]))
    columns = {path.parent.name: pq.read_schema(path).names for path in tmp_path.rglob("part-*.parquet")}
    assert columns[record.key][:5] == ["clip_id", "input_hash", "num_frames", "frame_s", "no_face_share"]
    assert "no_face_share" not in columns[other.key]
    with pytest.raises(StoreError, match="looks for no faces"):
        read_face_shares(store, "corpus", other)


def test_a_share_that_lacks_or_is_not_expected_is_refused(store: Store, record: EncoderRecord) -> None:
    with pytest.raises(EncoderError, match=r"clip new: no_face_share is missing"):
        write_features(store, "corpus", record, make_rows(record, ["new"], num_frames=3))
    other = make_record("gradient", modality="vision")
    with pytest.raises(EncoderError, match=r"clip new: no_face_share is 1\.0, but"):
        write_features(store, "corpus", other, [FeatureRow("new", "a", Features(0, 0.0, no_face_share=1.0))])
