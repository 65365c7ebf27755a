import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from store_samples import make_failures, make_record, make_rows, pairs_of, wanted_table

from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import left_to_do, read_done, read_failed
from mer_ray.store.compaction import compact
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled, read_sequences
from mer_ray.store.writer import write_failures, write_features


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def part_paths(store, key, kind="features"):
    return sorted(Path(store.part_folder("emodb", key, kind)).glob("part-*.parquet"))


def test_many_parts_become_one_that_reads_the_same(store):
    record = make_record(sequences=("low",))
    for index in range(12):
        write_features(store, "emodb", record, make_rows(record, [f"c{index}", f"c{index + 1}"], seed=index))
    pooled, sequences = read_pooled(store, "emodb", record), read_sequences(store, "emodb", record)
    summary = compact(store, "emodb", record.key)
    assert (summary.num_parts_before, summary.num_parts_after, summary.num_rows_dropped) == (12, 1, 11)
    (path,) = part_paths(store, record.key)
    assert sorted(pq.read_table(path)["clip_id"].to_pylist()) == sorted(f"c{index}" for index in range(13))
    again, again_sequences = read_pooled(store, "emodb", record), read_sequences(store, "emodb", record)
    assert again.clip_ids == pooled.clip_ids
    assert again.num_frames.tolist() == pooled.num_frames.tolist()
    for name, values_ND in pooled.columns.items():
        assert np.array_equal(again.columns[name], values_ND)
    assert np.array_equal(again_sequences.values["low"], sequences.values["low"])
    assert again_sequences.offsets["low"].tolist() == sequences.offsets["low"].tolist()


def test_compacting_again_changes_nothing(store):
    record = make_record()
    for index in range(6):
        write_features(store, "emodb", record, make_rows(record, [f"c{index}"]))
    compact(store, "emodb", record.key)
    before = [(path, path.stat().st_mtime_ns) for path in part_paths(store, record.key)]
    summary = compact(store, "emodb", record.key)
    assert (summary.num_parts_before, summary.num_parts_after, summary.num_rows_dropped) == (1, 1, 0)
    assert [(path, path.stat().st_mtime_ns) for path in part_paths(store, record.key)] == before


def test_parts_keep_to_their_size_and_big_ones_stay(store):
    record = make_record(layers={"wide": 1024})
    big = write_features(store, "emodb", record, make_rows(record, [f"big{index}" for index in range(40)]))
    for index in range(20):
        write_features(store, "emodb", record, make_rows(record, [f"c{index}", f"d{index}"]))
    part_bytes = big.num_bytes + 1000
    compact(store, "emodb", record.key, part_bytes)
    paths = part_paths(store, record.key)
    assert len(paths) == 2 or len(paths) == 3
    assert Path(big.path) in paths
    assert all(path.stat().st_size <= part_bytes * 1.1 for path in paths)
    assert len(read_pooled(store, "emodb", record).clip_ids) == 80


def test_large_parts_are_merged_in_row_groups(store):
    record = make_record(layers={"wide": 2048}, sequences=("wide",))
    for index in range(4):
        write_features(store, "emodb", record, make_rows(record, [f"c{index}-{clip}" for clip in range(6)], num_frames=300))
    compact(store, "emodb", record.key)
    (path,) = part_paths(store, record.key)
    metadata = pq.read_metadata(path)
    assert metadata.num_rows == 24
    assert 4 <= metadata.num_row_groups <= 12


def test_newer_rows_win_over_a_compacted_part(store):
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["a"], "old", seed=1))
    write_features(store, "emodb", record, make_rows(record, ["b"], "old", seed=1))
    compact(store, "emodb", record.key)
    write_features(store, "emodb", record, make_rows(record, ["a"], "new", seed=2, num_frames=77))
    assert read_pooled(store, "emodb", record).num_frames[0] == 77
    compact(store, "emodb", record.key)
    assert read_pooled(store, "emodb", record).num_frames[0] == 77
    assert sorted(pairs_of(read_done(store, "emodb", record.key))) == [("a", "new"), ("b", "old")]


def test_failures_are_merged_and_void_ones_dropped(store):
    record = make_record()
    for clip_id in "abc":
        write_failures(store, "emodb", record.key, make_failures([clip_id, "d"], message=clip_id))
    write_features(store, "emodb", record, make_rows(record, ["a", "x"]))
    before = read_failures(store, "emodb", record.key)
    wanted = wanted_table([(clip_id, "a") for clip_id in "abcdex"])
    left = left_to_do(store, "emodb", record.key, wanted)
    compact(store, "emodb", record.key)
    assert sorted(pairs_of(read_failed(store, "emodb", record.key))) == [("b", "a"), ("c", "a"), ("d", "a")]
    assert read_failures(store, "emodb", record.key).equals(before)
    assert left_to_do(store, "emodb", record.key, wanted).equals(left)
    assert len(part_paths(store, record.key, "failures")) == 1
    write_features(store, "emodb", record, make_rows(record, ["b", "c", "d"]))
    compact(store, "emodb", record.key)
    assert part_paths(store, record.key, "failures") == []


def test_old_leftovers_of_killed_writers_are_removed(store):
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["a"]))
    folder = Path(store.part_folder("emodb", record.key, "features"))
    old, fresh = folder / ".part-1.parquet.aa.tmp", folder / ".part-2.parquet.bb.tmp"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    assert compact(store, "emodb", record.key).num_leftovers == 1
    assert not old.exists()
    assert fresh.exists()


def test_a_compaction_stops_at_a_damaged_part_and_removes_nothing(store):
    record = make_record(layers={"low": 64})
    paths = [write_features(store, "emodb", record, make_rows(record, [f"c{index}"])).path for index in range(5)]
    column = pq.read_metadata(paths[3]).row_group(0).column(4)
    content = bytearray(Path(paths[3]).read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0x40
    Path(paths[3]).write_bytes(content)
    with pytest.raises(StoreError, match=f"{Path(paths[3]).name}: cannot be read as a part"):
        compact(store, "emodb", record.key)
    assert [str(path) for path in part_paths(store, record.key)] == sorted(paths)
    with pytest.raises(StoreError, match="no such encoder in the store"):
        compact(store, "emodb", "other@00000000")
