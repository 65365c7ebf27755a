import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_samples import make_failures, make_record, make_rows, pairs_of, wanted_table

from mer_ray.core.errors import StoreError
from mer_ray.store.catalog import left_to_do, read_done, read_failed
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.writer import write_failures, write_features


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def test_everything_is_left_of_an_empty_store(store):
    wanted = wanted_table([("b", "1"), ("a", "1")])
    assert left_to_do(store, "emodb", "spectral@00000000", wanted).equals(wanted)
    assert read_done(store, "emodb", "spectral@00000000").num_rows == 0


def test_left_is_wanted_minus_done_minus_failed(store):
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["a", "b"]))
    write_features(store, "emodb", record, make_rows(record, ["silent"], num_frames=0))
    write_failures(store, "emodb", record.key, make_failures(["c"]))
    wanted = wanted_table([("d", "a"), ("c", "a"), ("silent", "a"), ("b", "a"), ("a", "a")]).append_column(
        "more", pa.array([5, 4, 3, 2, 1])
    )
    assert left_to_do(store, "emodb", record.key, wanted).to_pylist() == [{"clip_id": "d", "input_hash": "a", "more": 5}]
    assert pairs_of(left_to_do(store, "emodb", record.key, wanted, retry_failed=True)) == [("d", "a"), ("c", "a")]
    assert sorted(pairs_of(read_done(store, "emodb", record.key))) == [("a", "a"), ("b", "a"), ("silent", "a")]
    assert pairs_of(read_failed(store, "emodb", record.key)) == [("c", "a")]


def test_a_changed_input_is_left_to_do_again(store):
    record = make_record()
    write_features(store, "emodb", record, make_rows(record, ["a", "b"], input_hash="old"))
    write_failures(store, "emodb", record.key, make_failures(["c"], input_hash="old"))
    wanted = wanted_table([("a", "new"), ("b", "old"), ("c", "new")])
    assert pairs_of(left_to_do(store, "emodb", record.key, wanted)) == [("a", "new"), ("c", "new")]
    write_features(store, "emodb", record, make_rows(record, ["a"], input_hash="new"))
    assert pairs_of(left_to_do(store, "emodb", record.key, wanted)) == [("c", "new")]


def test_other_encoders_and_corpora_do_not_count(store):
    first, second = make_record(seed="1"), make_record(seed="2")
    write_features(store, "emodb", first, make_rows(first, ["a"]))
    wanted = wanted_table([("a", "a")])
    assert left_to_do(store, "emodb", second.key, wanted).num_rows == 1
    assert left_to_do(store, "iemocap", first.key, wanted).num_rows == 1


def test_wanted_clips_need_ids(store):
    with pytest.raises(StoreError, match="need a input_hash each"):
        left_to_do(store, "emodb", "spectral@00000000", pa.table({"clip_id": ["a"]}))
    with pytest.raises(StoreError, match="need a clip_id each"):
        left_to_do(store, "emodb", "spectral@00000000", wanted_table([(None, "a")]))


def test_failures_are_given_once_and_features_beat_them(store):
    record = make_record()
    key = record.key
    write_failures(store, "emodb", key, make_failures(["a", "b", "c"], message="first"))
    write_failures(store, "emodb", key, make_failures(["b"], message="second"))
    write_failures(store, "emodb", key, make_failures(["d"], input_hash="old"))
    write_features(store, "emodb", record, make_rows(record, ["c"]))
    write_features(store, "emodb", record, make_rows(record, ["d"], input_hash="new"))
    # A retry that failed although features of the same input exist.
    write_failures(store, "emodb", key, make_failures(["c"], message="late"))
    assert [(row["clip_id"], row["message"]) for row in read_failures(store, "emodb", key).to_pylist()] == [("a", "first"), ("b", "second")]

    write_failures(store, "emodb", key, make_failures(["d"], input_hash="newest"))
    assert read_failures(store, "emodb", key)["clip_id"].to_pylist() == ["a", "b", "d"]
    wanted = wanted_table([("d", "new"), ("b", "a"), ("a", "changed"), ("e", "a")])
    assert read_failures(store, "emodb", key, wanted)["clip_id"].to_pylist() == ["b"]
    assert read_failures(store, "emodb", "other@00000000").num_rows == 0


@pytest.mark.parametrize("keep", ["no bytes", "first half", "no magic"])
def test_a_damaged_part_is_named(store, keep):
    record = make_record()
    info = write_features(store, "emodb", record, make_rows(record, ["a", "b"]))
    write_features(store, "emodb", record, make_rows(record, ["c"]))
    content = Path(info.path).read_bytes()
    Path(info.path).write_bytes({"no bytes": b"", "first half": content[: len(content) // 2], "no magic": b"x" * len(content)}[keep])
    with pytest.raises(StoreError, match=f"{Path(info.path).name}: cannot be read as a part"):
        left_to_do(store, "emodb", record.key, wanted_table([("a", "a")]))


def test_foreign_files_are_named(store):
    record = make_record()
    info = write_features(store, "emodb", record, make_rows(record, ["a"]))
    folder = Path(store.part_folder("emodb", record.key, "features"))
    (folder / ".part-1.parquet.0.tmp").write_bytes(b"half a file")
    (folder / "part-2.tmp").write_bytes(b"half a file")
    (folder / "_SUCCESS").touch()
    assert pairs_of(read_done(store, "emodb", record.key)) == [("a", "a")]

    (folder / "notes.txt").touch()
    with pytest.raises(StoreError, match=r"notes.txt: not a file of a store"):
        read_done(store, "emodb", record.key)
    (folder / "notes.txt").unlink()

    pq.write_table(pa.table({"clip_id": ["x"], "input_hash": ["y"]}), folder / "part-foreign.parquet")
    with pytest.raises(StoreError, match=r"part-foreign.parquet: a Parquet file, but not written by mer_ray"):
        read_done(store, "emodb", record.key)
    (folder / "part-foreign.parquet").unlink()

    other = make_record(seed="2")
    Path(store.part_folder("emodb", other.key, "features")).mkdir()
    Path(info.path).rename(Path(store.part_folder("emodb", other.key, "features"), Path(info.path).name))
    with pytest.raises(StoreError, match=f"holds features of {record.key}, not features of {other.key}"):
        read_done(store, "emodb", other.key)


def test_planning_sees_parts_that_appear_meanwhile(store):
    record = make_record(layers={"low": 2})
    clip_ids = [f"c{index:03d}" for index in range(60)]
    wanted = wanted_table([(clip_id, "a") for clip_id in clip_ids])

    def write():
        for clip_id in clip_ids:
            write_features(store, "emodb", record, make_rows(record, [clip_id]))

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    while writer.is_alive():
        counts.append(left_to_do(store, "emodb", record.key, wanted).num_rows)
    writer.join()
    counts.append(left_to_do(store, "emodb", record.key, wanted).num_rows)
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_planning_agrees_with_sets_on_random_histories(store):
    generator = np.random.default_rng(5)
    record = make_record(layers={"low": 2})
    done, failed = set(), set()
    newest: dict[str, str] = {}
    for _ in range(25):
        clips = [f"c{number}" for number in generator.choice(80, size=int(generator.integers(1, 8)), replace=False)]
        input_hash = f"h{generator.integers(2)}"
        if generator.random() < 0.6:
            write_features(store, "emodb", record, make_rows(record, clips, input_hash))
            done |= {(clip, input_hash) for clip in clips}
            newest |= dict.fromkeys(clips, input_hash)
        else:
            write_failures(store, "emodb", record.key, make_failures(clips, input_hash))
            failed |= {(clip, input_hash) for clip in clips}
    pairs = [(f"c{number}", f"h{generator.integers(2)}") for number in generator.permutation(80)]
    wanted = wanted_table(pairs)
    assert pairs_of(left_to_do(store, "emodb", record.key, wanted)) == [
        pair for pair in pairs if newest.get(pair[0]) != pair[1] and pair not in failed - done
    ]
    assert pairs_of(left_to_do(store, "emodb", record.key, wanted, retry_failed=True)) == [
        pair for pair in pairs if newest.get(pair[0]) != pair[1]
    ]
    assert set(pairs_of(read_failures(store, "emodb", record.key, wanted))) == set(pairs) & (failed - done)


def test_an_input_that_changed_back_is_left_to_do_because_readers_take_the_newest_row(store):
    record = make_record(layers={"low": 2})
    first = wanted_table([("c1", "h1")])
    write_features(store, "emodb", record, make_rows(record, ["c1"], "h1"))
    write_features(store, "emodb", record, make_rows(record, ["c1"], "h2"))
    assert pairs_of(left_to_do(store, "emodb", record.key, first)) == [("c1", "h1")]
    write_features(store, "emodb", record, make_rows(record, ["c1"], "h1"))
    assert left_to_do(store, "emodb", record.key, first).num_rows == 0


def test_files_that_were_away_for_a_while_do_not_void_their_features(store):
    record = make_record(layers={"low": 2})
    write_features(store, "emodb", record, make_rows(record, ["c1"], "h1"))
    write_failures(store, "emodb", record.key, make_failures(["c1"], "gone"))
    assert left_to_do(store, "emodb", record.key, wanted_table([("c1", "h1")])).num_rows == 0
    assert left_to_do(store, "emodb", record.key, wanted_table([("c1", "gone")])).num_rows == 0
    assert left_to_do(store, "emodb", record.key, wanted_table([("c1", "gone")]), retry_failed=True).num_rows == 1
