from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_samples import make_failures, make_features, make_record, make_rows

from mer_ray.core.errors import EncoderError, StoreError
from mer_ray.core.media_types import Features
from mer_ray.store.layout import open_store
from mer_ray.store.parts import write_part
from mer_ray.store.publishing import check_writable
from mer_ray.store.schemas import feature_schema
from mer_ray.store.writer import FeatureRow, check_representable, write_failures, write_features


@pytest.mark.parametrize(("dtype", "value_type"), [("float16", pa.float16()), ("float32", pa.float32())])
def test_columns_are_plain_lists_to_any_reader(tmp_path, dtype, value_type):
    store = open_store(tmp_path)
    record = make_record(sequences=("low",), dtype=dtype)
    rows = [*make_rows(record, ["c1", "c2"]), *make_rows(record, ["silent"], num_frames=0)]
    info = write_features(store, "emodb", record, rows)

    table = pq.read_table(info.path)
    assert table.schema.equals(
        pa.schema(
            [
                pa.field("clip_id", pa.string(), nullable=False),
                pa.field("input_hash", pa.string(), nullable=False),
                pa.field("num_frames", pa.int32(), nullable=False),
                pa.field("frame_s", pa.float64(), nullable=False),
                ("mean_low", pa.list_(value_type, 3)),
                ("std_low", pa.list_(value_type, 3)),
                ("seq_low", pa.list_(value_type)),
                ("mean_high", pa.list_(value_type, 5)),
                ("std_high", pa.list_(value_type, 5)),
            ]
        )
    )
    assert table["clip_id"].to_pylist() == ["c1", "c2", "silent"]
    assert table["num_frames"].to_pylist() == [rows[0].features.num_frames, rows[1].features.num_frames, 0]
    for row in range(2):
        assert table["mean_high"][row].as_py() == rows[row].features.mean["high"].astype(dtype).tolist()
        assert table["std_low"][row].as_py() == rows[row].features.std["low"].astype(dtype).tolist()
        assert table["seq_low"][row].as_py() == rows[row].features.sequences["low"].astype(dtype).reshape(-1).tolist()
    assert [table[name][2].as_py() for name in table.column_names[4:]] == [None] * 5

    frame = pd.read_parquet(info.path)
    assert frame["mean_low"][0].tolist() == table["mean_low"][0].as_py()
    assert frame["seq_low"][2] is None


def test_files_are_uncompressed_with_small_row_groups_for_sequences(tmp_path):
    store = open_store(tmp_path)
    pooled, kept = make_record(layers={"wide": 4096}), make_record(seed="2", layers={"wide": 4096}, sequences=("wide",))
    num_groups = {}
    for record in (pooled, kept):
        info = write_features(store, "emodb", record, make_rows(record, [f"c{index}" for index in range(16)], num_frames=100))
        metadata = pq.read_metadata(info.path)
        num_groups[record.key] = metadata.num_row_groups
        assert metadata.num_rows == info.num_rows == 16
        assert Path(info.path).stat().st_size == info.num_bytes
        chunks = [metadata.row_group(0).column(index) for index in range(metadata.num_columns)]
        assert {chunk.compression for chunk in chunks} == {"UNCOMPRESSED"}
        assert not any(chunk.has_dictionary_page for chunk in chunks)
    assert num_groups[pooled.key] == 1
    assert num_groups[kept.key] == 4


def test_a_part_is_named_by_what_it_holds(tmp_path):
    store = open_store(tmp_path)
    record = make_record()
    rows = make_rows(record, ["c1", "c2"])
    first = write_features(store, "emodb", record, rows)
    again = write_features(store, "emodb", record, rows[::-1])
    other_hash = write_features(store, "emodb", record, make_rows(record, ["c1", "c2"], input_hash="b"))
    other_clips = write_features(store, "emodb", record, rows[:1])
    assert first.path == again.path
    assert again.written_ns > first.written_ns
    assert len({first.path, other_hash.path, other_clips.path}) == 3
    folder = Path(store.part_folder("emodb", record.key, "features"))
    assert {str(path) for path in folder.glob("part-*.parquet")} == {first.path, other_hash.path, other_clips.path}
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_published_files_can_be_read_by_others(tmp_path):
    record = make_record()
    info = write_features(open_store(tmp_path), "emodb", record, make_rows(record, ["c1"]))
    plain = tmp_path / "plain"
    plain.touch()
    assert Path(info.path).stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("where", ["mean", "std", "sequences"])
def test_values_beyond_float16_are_refused(tmp_path, where):
    store = open_store(tmp_path)
    record = make_record(sequences=("low",))
    good = make_features(record, 1)
    values = getattr(good, where)["low"].copy()
    values.flat[1] = 70000
    bad = replace(good, **{where: {**getattr(good, where), "low": values}})
    with pytest.raises(EncoderError, match=r"layer low, .*: 70000 is too large for float16"):
        check_representable(bad, "float16")
    with pytest.raises(EncoderError, match=r"clip c2: layer low"):
        write_features(store, "emodb", record, [FeatureRow("c1", "a", good), FeatureRow("c2", "a", bad)])
    assert not Path(store.root, "emodb").exists()
    check_representable(bad, "float32")


def test_the_largest_float16_passes_and_its_neighbour_does_not():
    def features(value):
        return Features(1, 0.02, {"low": np.array([value], np.float32)}, {"low": np.zeros(1, np.float32)})

    check_representable(features(65519.0), "float16")
    with pytest.raises(EncoderError, match="65520 is too large"):
        check_representable(features(65520.0), "float16")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_values_that_are_not_finite_are_refused(value, dtype):
    features = Features(1, 0.02, {"low": np.array([0, value, 1], np.float32)}, {})
    with pytest.raises(EncoderError, match="1 of 3 values are not finite"):
        check_representable(features, dtype)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": {"low": np.zeros(3, np.float32)}}, r"mean of 4 frames has layers \['low'\], expected \['high', 'low'\]"),
        ({"std": {"low": np.zeros(4, np.float32), "high": np.zeros(5, np.float32)}}, r"std of layer low has shape \(4,\), but D is 3"),
        ({"sequences": {}}, r"sequences of 4 frames has layers \[\], expected \['low'\]"),
        ({"sequences": {"low": np.zeros((4, 2), np.float32)}}, r"sequences of layer low has shape \(4, 2\)"),
        ({"sequences": {"low": np.zeros((0, 3), np.float32)}}, r"sequences of layer low has shape \(0, 3\)"),
        ({"num_frames": 0}, r"mean of 0 frames has layers \['high', 'low'\], expected \[\]"),
    ],
)
def test_features_that_break_the_record_are_refused(tmp_path, changes, message):
    record = make_record(sequences=("low",))
    features = replace(make_features(record, 1, num_frames=4), **changes)
    with pytest.raises(EncoderError, match=message):
        write_features(open_store(tmp_path), "emodb", record, [FeatureRow("c1", "a", features)])


def test_empty_and_doubled_shards_are_refused(tmp_path):
    store = open_store(tmp_path)
    record = make_record()
    with pytest.raises(StoreError, match="at least one row"):
        write_features(store, "emodb", record, [])
    with pytest.raises(StoreError, match="a clip once, but not c1"):
        write_features(store, "emodb", record, make_rows(record, ["c1", "c2", "c1"]))
    with pytest.raises(StoreError, match="at least one row"):
        write_failures(store, "emodb", record.key, [])


def test_failures_are_plain_rows(tmp_path):
    store = open_store(tmp_path)
    rows = make_failures(["c1", "ü 2"])
    table = pq.read_table(write_failures(store, "emodb", "hubert@00000000", rows).path)
    assert table.column_names == ["clip_id", "input_hash", "stage", "error_type", "message", "time"]
    assert table["clip_id"].to_pylist() == ["c1", "ü 2"]
    assert table["time"][0].as_py() == rows[0].time
    with pytest.raises(StoreError, match="has no time zone"):
        write_failures(store, "emodb", "hubert@00000000", [replace(rows[0], time=datetime(2026, 1, 1))])


def test_an_exception_in_the_middle_of_a_write_publishes_nothing(tmp_path):
    store = open_store(tmp_path)
    record = make_record(sequences=("low",), layers={"low": 1024})
    before = write_features(store, "emodb", record, make_rows(record, ["old"], num_frames=9))

    rows = make_rows(record, [f"c{index}" for index in range(40)], num_frames=300)

    class SequencesThatFail(dict):
        """Good while they are checked, an error when the last row group is built."""

        def get(self, key, default=None):
            raise MemoryError("in the last row group")

    last = rows[-1].features
    rows[-1] = FeatureRow("last", "a", Features(last.num_frames, last.frame_s, last.mean, last.std, SequencesThatFail(last.sequences)))
    with pytest.raises(MemoryError):
        write_features(store, "emodb", record, rows)
    folder = Path(store.part_folder("emodb", record.key, "features"))
    assert sorted(path.name for path in folder.iterdir()) == sorted(["_encoder.json", Path(before.path).name])


def test_a_file_with_too_few_rows_is_not_published(tmp_path):
    store = open_store(tmp_path)
    record = make_record()
    table = pq.read_table(write_features(store, "emodb", record, make_rows(record, ["a", "b"])).path).replace_schema_metadata(None)
    path = tmp_path / "part-short.parquet"
    with pytest.raises(StoreError, match=r"part-short.parquet: not published: 2 rows in the file instead of 3"):
        write_part(store, str(path), record.key, "features", feature_schema(record), [table], 3, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emodb"]


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    record = make_record()
    with pytest.raises(StoreError, match="cannot be"):
        write_features(open_store(tmp_path / "file"), "emodb", record, make_rows(record, ["c1"]))
    with pytest.raises(StoreError, match=r"failures/.*cannot be written.*check that the place exists"):
        write_failures(open_store(tmp_path / "file"), "emodb", record.key, make_failures(["c1"]))


def test_a_store_that_cannot_be_written_is_found_before_anything_is_computed(tmp_path: Path):
    check_writable(open_store(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/store: cannot be written"):
        check_writable(open_store(tmp_path / "file" / "store"))
