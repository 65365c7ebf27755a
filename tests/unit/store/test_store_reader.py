import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from store_samples import make_features, make_record, make_rows

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import open_store
from mer_ray.store.parts import PartGoneError, write_part
from mer_ray.store.reader import read_pooled, read_sequences
from mer_ray.store.rows import fetch_rows
from mer_ray.store.scanning import scan_parts
from mer_ray.store.schemas import feature_schema
from mer_ray.store.selection import ChosenRows, all_clips, select_rows
from mer_ray.store.writer import FeatureRow, write_features


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_pooled_features_come_back_in_the_order_asked_for(store, dtype):
    record = make_record(dtype=dtype)
    rows = {row.clip_id: row for row in make_rows(record, [f"c{index:02d}" for index in range(20)])}
    rows |= {row.clip_id: row for row in make_rows(record, ["silent"], num_frames=0)}
    shards = np.array_split(np.random.default_rng(1).permutation(sorted(rows)), 4)
    for shard in shards:
        write_features(store, "emodb", record, [rows[clip_id] for clip_id in shard])

    everything = read_pooled(store, "emodb", record)
    assert everything.clip_ids == tuple(sorted(rows))
    assert list(everything.columns) == ["mean_low", "std_low", "mean_high", "std_high"]
    asked = ("c07", "nobody", "silent", "c19", "c00")
    some = read_pooled(store, "emodb", record, ["high"], ["std"], asked)
    assert some.clip_ids == asked
    assert some.missing == ("nobody",)
    assert some.present.tolist() == [True, False, False, True, True]
    assert list(some.columns) == ["std_high"]
    for result in (everything, some):
        assert result.stale == ()
        for name, values_ND in result.columns.items():
            statistic, layer = name.split("_")
            assert values_ND.dtype == dtype
            assert values_ND.shape == (len(result.clip_ids), record.layers[layer])
            for clip_id, values_D, num_frames in zip(result.clip_ids, values_ND, result.num_frames, strict=True):
                features = rows[clip_id].features if clip_id in rows else make_features(record, 0, num_frames=0)
                expected = getattr(features, statistic).get(layer, np.zeros(record.layers[layer])).astype(dtype)
                assert num_frames == features.num_frames
                assert values_D.tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_sequences_come_back_end_to_end(store, dtype):
    # 40 clips of about 150 KiB: several row groups per part, some of which hold no clip asked for.
    record = make_record(layers={"wide": 512, "low": 3, "other": 2}, sequences=("wide", "low"), dtype=dtype)
    clip_ids = [f"c{index:02d}" for index in range(40)]
    rows = {row.clip_id: row for row in make_rows(record, clip_ids, num_frames=150)}
    rows["c11"] = FeatureRow("c11", "a", make_features(record, 3, num_frames=0))
    rows["c12"] = FeatureRow("c12", "a", make_features(record, 4, num_frames=1))
    info = write_features(store, "emodb", record, list(rows.values()))
    write_features(store, "emodb", record, make_rows(record, ["z"]))
    assert pq.read_metadata(info.path).num_row_groups > 1

    asked = ("c39", "nobody", "c11", "c00", "c12", "z")
    result = read_sequences(store, "emodb", record, ["wide"], asked)
    assert list(result.values) == ["wide"]
    assert result.missing == ("nobody",)
    assert result.present.tolist() == [True, False, False, True, True, True]
    assert np.isnan(result.frame_s).tolist() == [False, True, False, False, False, False]
    assert np.diff(result.offsets["wide"]).tolist() == [150, 0, 0, 150, 1, result.num_frames[5]]
    for clip, clip_id in ((0, "c39"), (3, "c00"), (4, "c12")):
        frames = result.values["wide"][result.offsets["wide"][clip] : result.offsets["wide"][clip + 1]]
        assert np.array_equal(frames, rows[clip_id].features.sequences["wide"].astype(dtype))

    everything = read_sequences(store, "emodb", record)
    assert everything.clip_ids == (*clip_ids, "z")
    assert list(everything.values) == ["wide", "low"]
    for layer, values_TD in everything.values.items():
        parts = [rows[clip_id].features.sequences.get(layer) for clip_id in clip_ids]
        expected = np.concatenate([part for part in parts if part is not None]).astype(dtype)
        assert np.array_equal(values_TD[: len(expected)], expected)
    with pytest.raises(StoreError, match=r"sequences other: not stored for .*; allowed: wide, low"):
        read_sequences(store, "emodb", record, ["other"])


def test_sequences_may_be_coarser_than_the_frames(store):
    record = make_record(layers={"low": 3}, sequences=("low",), rate_hz=2.0)
    features = replace(make_features(record, 1, num_frames=100), sequences={"low": np.ones((4, 3), np.float32)})
    write_features(store, "emodb", record, [FeatureRow("c1", "a", features)])
    result = read_sequences(store, "emodb", record)
    assert result.num_frames.tolist() == [100]
    assert result.values["low"].shape == (4, 3)


def test_a_clip_in_several_parts_is_read_once_and_newest(store):
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["a", "b", "c"], seed=1))
    write_features(store, "emodb", record, make_rows(record, ["b", "c"], seed=2))
    write_features(store, "emodb", record, make_rows(record, ["c"], seed=3))
    result = read_pooled(store, "emodb", record, ["low"], ["mean"])
    assert result.clip_ids == ("a", "b", "c")
    for clip, seed in enumerate((1, 2, 3)):
        expected = make_rows(record, [result.clip_ids[clip]], seed=seed)[0].features.mean["low"].astype(np.float16)
        assert np.array_equal(result.columns["mean_low"][clip], expected)


def test_the_wanted_input_hash_beats_the_newest_row(store):
    record = make_record(sequences=("low",))
    write_features(store, "emodb", record, make_rows(record, ["a", "b"], input_hash="old", seed=1, num_frames=4))
    write_features(store, "emodb", record, make_rows(record, ["a", "b"], input_hash="new", seed=2, num_frames=7))
    for hashes, frames, stale in (
        (None, [7, 7], ()),
        (["old", "new"], [4, 7], ()),
        (["old", None], [4, 7], ()),
        (["newest", "old"], [7, 4], ("a",)),
    ):
        pooled = read_pooled(store, "emodb", record, clip_ids=["a", "b"], input_hashes=hashes)
        sequences = read_sequences(store, "emodb", record, clip_ids=["a", "b"], input_hashes=hashes)
        assert pooled.num_frames.tolist() == np.diff(sequences.offsets["low"]).tolist() == frames
        assert pooled.stale == sequences.stale == stale


def test_one_row_per_clip_on_random_histories(store):
    generator = np.random.default_rng(11)
    record = make_record(layers={"low": 2})
    newest, newest_of_hash = {}, {}
    for step in range(30):
        clips = [f"c{number}" for number in generator.choice(25, size=int(generator.integers(1, 9)), replace=False)]
        input_hash = f"h{generator.integers(3)}"
        rows = make_rows(record, clips, input_hash, seed=step)
        write_features(store, "emodb", record, rows)
        for row in rows:
            value = row.features.mean["low"].astype(np.float16).tolist()
            newest[row.clip_id] = newest_of_hash[row.clip_id, input_hash] = value
    clip_ids = generator.permutation(sorted(newest)).tolist()
    wanted = [f"h{generator.integers(3)}" for _ in clip_ids]
    result = read_pooled(store, "emodb", record, ["low"], ["mean"], clip_ids, wanted)
    expected = [newest_of_hash.get(pair, newest[pair[0]]) for pair in zip(clip_ids, wanted, strict=True)]
    assert result.columns["mean_low"].tolist() == expected
    assert set(result.stale) == {clip for clip, hash_ in zip(clip_ids, wanted, strict=True) if (clip, hash_) not in newest_of_hash}
    parts = scan_parts(store, "emodb", record.key, "features")
    chosen: list[ChosenRows] = select_rows(parts, all_clips(parts)).by_part()
    assert sorted(np.concatenate([piece.clips for piece in chosen]).tolist()) == list(range(len(newest)))


def test_an_empty_store_has_everything_missing(store):
    record = make_record(sequences=("low",))
    nothing = read_pooled(store, "emodb", record)
    assert nothing.clip_ids == ()
    assert nothing.columns["mean_low"].shape == (0, 3)
    assert read_pooled(store, "emodb", record, clip_ids=["a", "b"]).missing == ("a", "b")
    sequences = read_sequences(store, "emodb", record, clip_ids=["a"])
    assert sequences.values["low"].shape == (0, 3)
    assert sequences.offsets["low"].tolist() == [0, 0]


def test_wrong_questions_are_answered_with_what_is_allowed(store):
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["a"]))
    with pytest.raises(StoreError, match=r"layers middle: not stored for spectral@\w+; allowed: low, high"):
        read_pooled(store, "emodb", record, ["low", "middle"])
    with pytest.raises(StoreError, match=r"statistics median: .* allowed: mean, std"):
        read_pooled(store, "emodb", record, ["low"], ["median"])
    with pytest.raises(StoreError, match="a clip is asked for twice"):
        read_pooled(store, "emodb", record, clip_ids=["a", "a"])
    with pytest.raises(StoreError, match="input_hashes belong to clip_ids"):
        read_pooled(store, "emodb", record, input_hashes=["a"])


def test_a_flipped_byte_is_found(store):
    record = make_record(layers={"low": 64})
    info = write_features(store, "emodb", record, make_rows(record, [f"c{index}" for index in range(50)]))
    column = pq.read_metadata(info.path).row_group(0).column(4)
    assert column.path_in_schema.startswith("mean_low")
    content = bytearray(Path(info.path).read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0x40
    Path(info.path).write_bytes(content)
    with pytest.raises(StoreError, match=f"{Path(info.path).name}: cannot be read as a part"):
        read_pooled(store, "emodb", record)
    assert len(read_pooled(store, "emodb", record, ["low"], ["std"]).clip_ids) == 50


def test_a_part_with_other_columns_is_named(store):
    record = make_record()
    other = make_record(layers={"low": 3, "high": 6})
    table = pq.read_table(write_features(open_store(Path(store.root, "x")), "emodb", other, make_rows(other, ["a"])).path)
    path = f"{store.part_folder('emodb', record.key, 'features')}/part-1.parquet"
    write_part(store, path, record.key, "features", feature_schema(other), [table.replace_schema_metadata(None)], 1, 1)
    with pytest.raises(StoreError, match=r"part-1.parquet: has other columns than the encoder's record says"):
        read_pooled(store, "emodb", record)


def test_a_part_that_stays_unreadable_is_one_clear_line(store):
    record = make_record()
    info = write_features(store, "emodb", record, make_rows(record, ["a"]))
    # A dangling link is listed, but gone when it is opened, every time.
    Path(info.path).unlink()
    os.symlink("nowhere", info.path)
    with pytest.raises(StoreError, match=r"parts went away at 5 readings in a row"):
        read_pooled(store, "emodb", record)


@pytest.mark.parametrize("clip_ids", [["b", "a"], ["a", "c"]])
def test_a_part_that_is_replaced_between_planning_and_reading_is_noticed(store, clip_ids):
    record = make_record()
    info = write_features(store, "emodb", record, make_rows(record, ["a", "b"]))
    (part,) = scan_parts(store, "emodb", record.key, "features")
    rows = np.array([0, 1])
    (fetched,) = fetch_rows(store, record.key, "features", feature_schema(record), part, rows, ["mean_low"])
    assert fetched.table.column_names == ["clip_id", "mean_low"]
    replacement = write_features(store, "emodb", record, make_rows(record, clip_ids))
    os.replace(replacement.path, info.path)
    with pytest.raises(PartGoneError, match="was replaced while it was read"):
        next(fetch_rows(store, record.key, "features", feature_schema(record), part, rows, ["mean_low"]))
    result = read_pooled(store, "emodb", record, ["low"], ["mean"])
    for clip_id, values_D in zip(result.clip_ids, result.columns["mean_low"], strict=True):
        assert np.array_equal(values_D, make_rows(record, [clip_id])[0].features.mean["low"].astype(np.float16))


def test_only_the_row_groups_and_columns_asked_for_are_read(store):
    record = make_record(layers={"wide": 4096, "low": 2}, sequences=("wide",))
    info = write_features(store, "emodb", record, make_rows(record, [f"c{index:02d}" for index in range(16)], num_frames=200))

    def bytes_read(read):
        before = int(Path("/proc/self/io").read_text().split()[1])
        read()
        return int(Path("/proc/self/io").read_text().split()[1]) - before

    assert info.num_bytes > 25e6
    assert bytes_read(lambda: read_sequences(store, "emodb", record, clip_ids=["c03"])) < info.num_bytes / 4
    assert bytes_read(lambda: read_pooled(store, "emodb", record, ["low"])) < info.num_bytes / 50
