import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from store_samples import make_failures, make_record, make_rows, wanted_table

from mer_ray.core.errors import StoreError
from mer_ray.store import removal as removal_module
from mer_ray.store.catalog import left_to_do
from mer_ray.store.compaction import compact
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_leases
from mer_ray.store.reader import read_pooled, read_sequences
from mer_ray.store.removal import read_clip_ids, remove_clips
from mer_ray.store.writer import write_failures, write_features

RECORD = make_record(sequences=("low",))
OTHER = make_record("hubert")


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def fill(store):
    """Two encoders, old and new rows, failures, in two corpora."""
    for corpus in ("emodb", "iemocap"):
        for record in (RECORD, OTHER):
            for seed in range(3):
                write_features(store, corpus, record, make_rows(record, [f"c{seed}", f"c{seed + 1}"], seed=seed))
            write_failures(store, corpus, record.key, make_failures(["c9", "c1"]))


def raw_bytes(store, corpus):
    return b"".join(path.read_bytes() for path in Path(store.corpus_folder(corpus)).rglob("*") if path.is_file())


def test_no_byte_of_the_clips_is_left_and_the_others_are_as_they_were(store):
    fill(store)
    before = {record.key: read_pooled(store, "emodb", record, clip_ids=["c0", "c2", "c3"]) for record in (RECORD, OTHER)}
    frames = read_sequences(store, "emodb", RECORD, clip_ids=["c0", "c2", "c3"])
    killed = Path(store.part_folder("emodb", RECORD.key, "features"), ".part-1.x.tmp")
    killed.write_bytes(b"c1")
    summary = remove_clips(store, ["c1", "c9", "nobody"], corpus="emodb")
    assert summary.num_rows == {("emodb", key, kind): 2 for key in sorted([RECORD.key, OTHER.key]) for kind in ("features", "failures")}
    assert (summary.unknown, summary.num_leftovers, summary.num_files_searched) == (("nobody",), 1, 4)
    assert not killed.exists()
    content = raw_bytes(store, "emodb")
    for clip_id in (b"c1", b"c9"):
        assert b"\x02\x00\x00\x00" + clip_id not in content
    assert b"\x02\x00\x00\x00c1" in raw_bytes(store, "iemocap")
    for record in (RECORD, OTHER):
        after = read_pooled(store, "emodb", record)
        assert after.clip_ids == ("c0", "c2", "c3")
        for name, values_ND in before[record.key].columns.items():
            assert (after.columns[name] == values_ND).all()
        assert read_failures(store, "emodb", record.key).num_rows == 0
    assert (read_sequences(store, "emodb", RECORD).values["low"] == frames.values["low"]).all()
    text = "\n".join(summary.table().notes)
    assert "8 rows of 2 clips removed" in text
    assert "no row in the store: nobody" in text
    # A second corpus is done by the second call, which finds nothing more in the first.
    assert {corpus for corpus, _, _ in remove_clips(store, ["c1", "c9"]).num_rows} == {"iemocap"}


def test_of_rows_that_become_the_same_part_the_newer_one_stays(store):
    write_features(store, "emodb", RECORD, make_rows(RECORD, ["c0", "c1"], seed=1))
    write_features(store, "emodb", RECORD, make_rows(RECORD, ["c0"], seed=2))
    newest = read_pooled(store, "emodb", RECORD, clip_ids=["c0"])
    remove_clips(store, ["c1"])
    after = read_pooled(store, "emodb", RECORD)
    assert after.clip_ids == ("c0",)
    assert (after.columns["mean_low"] == newest.columns["mean_low"]).all()
    # The other way round: the part that shrinks is the newer one.
    write_features(store, "emodb", RECORD, make_rows(RECORD, ["c0", "c1"], seed=3))
    newest = read_pooled(store, "emodb", RECORD, clip_ids=["c0"])
    remove_clips(store, ["c1"])
    assert (read_pooled(store, "emodb", RECORD).columns["mean_low"] == newest.columns["mean_low"]).all()
    assert compact(store, "emodb", RECORD.key).num_parts_after == 1


def test_an_older_row_of_another_input_stays_older(store):
    write_features(store, "emodb", RECORD, make_rows(RECORD, ["c0", "c1"], input_hash="a"))
    write_features(store, "emodb", RECORD, make_rows(RECORD, ["c0"], input_hash="b"))
    remove_clips(store, ["c1"])
    wanted = wanted_table([("c0", "b")])
    assert left_to_do(store, "emodb", RECORD.key, wanted).num_rows == 0


def test_work_on_an_encoder_keeps_a_removal_out(store):
    fill(store)
    with hold_leases(store, "iemocap", [OTHER.key], part=(3, 4)), pytest.raises(StoreError, match="a removal of clips cannot start beside"):
        remove_clips(store, ["c1"])
    assert "c1" in read_pooled(store, "emodb", RECORD).clip_ids
    remove_clips(store, ["c1"])
    with pytest.raises(StoreError, match="has no corpus msp; it has emodb, iemocap"):
        remove_clips(store, ["c1"], corpus="msp")


def test_the_proof_finds_what_was_not_removed(store, monkeypatch):
    fill(store)
    with monkeypatch.context() as patched:
        patched.setattr(removal_module, "_filter_groups", lambda file, unwanted: iter([]))
        with pytest.raises(StoreError, match="not published: 0 rows in the file instead of 1"):
            remove_clips(store, ["c1"])
    stray = Path(store.part_folder("emodb", RECORD.key, "features"), "_index.txt")
    stray.write_text("c0 c10\n")
    remove_clips(store, ["c1"])
    stray.write_text("c0\nc2,1\n")
    with pytest.raises(StoreError, match=r"_index.txt: still holds the clip c2; remove this file and start again"):
        remove_clips(store, ["c2"])


def kill_at(root, event):
    """Remove, and die by SIGKILL right before the given file operation in the store (counted from 0)."""
    seen = 0

    def count(name, arguments):
        nonlocal seen
        if name in ("os.rename", "os.remove") and str(arguments[0]).startswith(root):
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(count)
    remove_clips(open_store(root), ["c1", "c9"])


@pytest.mark.slow
def test_a_removal_killed_at_any_moment_ends_when_started_again(tmp_path):
    def run(root, event):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.run([sys.executable, __file__, root, str(event)], env=environment, check=False).returncode

    killed = 0
    for event in range(0, 200, 9):
        root = str(tmp_path / str(event))
        store = open_store(root)
        fill(store)
        ended = run(root, event)
        assert ended in (0, -signal.SIGKILL)
        for record in (RECORD, OTHER):
            assert {"c0", "c2", "c3"} <= set(read_pooled(store, "emodb", record).clip_ids)
        if ended == 0:
            break
        killed += 1
        remove_clips(store, ["c1", "c9"])
        for corpus in ("emodb", "iemocap"):
            assert b"\x02\x00\x00\x00c1" not in raw_bytes(store, corpus)
            for record in (RECORD, OTHER):
                assert read_pooled(store, corpus, record).clip_ids == ("c0", "c2", "c3")
    assert killed >= 3


def test_lists_of_clips_come_as_text_csv_and_parquet(tmp_path):
    (tmp_path / "clips.txt").write_text("\ufeff007\n\n b 2 \n007\n", encoding="utf-8")
    table = pa.table({"other": [1.0, 2.0, 3.0], "clip_id": ["007", "b 2", "007"]})
    pyarrow.csv.write_csv(table, tmp_path / "clips.csv")
    pq.write_table(table, tmp_path / "clips.parquet")
    for suffix in ("txt", "csv", "parquet"):
        assert read_clip_ids(tmp_path / f"clips.{suffix}") == ("007", "b 2")
    (tmp_path / "bare.csv").write_text("clip_id\n007\nNA\n")
    assert read_clip_ids(tmp_path / "bare.csv") == ("007", "NA")
    (tmp_path / "wrong.csv").write_text("id,x\n1,2\n")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "binary.parquet").write_bytes(b"none")
    for name, message in {
        "wrong.csv": "has no column clip_id; columns: id, x",
        "empty.txt": "names no clip; write one clip_id per line",
        "binary.txt": "cannot be read as a list of clips",
        "binary.parquet": "cannot be read as a list of clips",
        "absent.txt": "cannot be read as a list of clips: .*No such file",
    }.items():
        with pytest.raises(StoreError, match=rf"{name}: {message}"):
            read_clip_ids(tmp_path / name)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
