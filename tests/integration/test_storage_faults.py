"""Storage that fails: what passes is tried again, what does not is one clear line at once, and nothing short is ever read."""

import json
import os
import pickle
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from faulty_s3 import FaultyS3

from mer_ray.cli import main
from mer_ray.core import s3, s3_session
from mer_ray.core.errors import ConfigError, StoreError
from mer_ray.core.media_types import Features
from mer_ray.store import lease as lease_module
from mer_ray.store.catalog import left_to_do
from mer_ray.store.checking import check_store
from mer_ray.store.compaction import compact
from mer_ray.store.layout import Store, open_store
from mer_ray.store.lease import hold_leases, list_leases
from mer_ray.store.overview import list_store
from mer_ray.store.publishing import check_writable
from mer_ray.store.reader import read_pooled
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.removal import remove_clips
from mer_ray.store.writer import FeatureRow, write_features

pytestmark = pytest.mark.slow

IDENTITY = "c" * 64
RECORD = EncoderRecord(
    name="fault", key=encoder_key("fault", IDENTITY), identity=IDENTITY, config={}, modality="audio", layers={"low": 8, "wide": 2048}
)
TRANSIENT = ["500", "503", "hang", "reset", "cut", "cut_request", "lost_answer"]
CREDENTIALS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI")


def make_row(clip: int) -> FeatureRow:
    generator = np.random.default_rng(clip)
    mean, std = ({layer: generator.standard_normal(dim).astype(np.float32) for layer, dim in RECORD.layers.items()} for _ in ("m", "s"))
    return FeatureRow(f"c{clip:03d}", "a", Features(3, 0.02, mean, std))


def write(store: Store, *clips: int) -> None:
    write_features(store, "corpus", RECORD, [make_row(clip) for clip in clips])


def check_read(store: Store, num_clips: int) -> None:
    pooled = read_pooled(store, "corpus", RECORD)
    rows = [make_row(clip) for clip in range(num_clips)]
    assert pooled.clip_ids == tuple(row.clip_id for row in rows)
    assert np.array_equal(pooled.columns["mean_wide"], np.stack([row.features.mean["wide"] for row in rows]).astype(np.float16))


def store_of(proxy: FaultyS3) -> Store:
    return open_store(f"s3://{proxy.bucket}/store")


def objects_of(proxy: FaultyS3) -> str:
    """What really lies in the bucket, by a request past the proxy."""
    with urllib.request.urlopen(f"{proxy.target}/{proxy.bucket}?list-type=2") as answer:
        return str(answer.read().decode())


def folder_of(store: Store) -> str:
    return store.part_folder("corpus", RECORD.key, "features")


def is_one_line(caught: pytest.ExceptionInfo[StoreError]) -> bool:
    text = str(caught.value)
    return "\n" not in text and not any(secret in text for secret in CREDENTIALS)


@pytest.mark.parametrize("kind", [kind for kind in TRANSIENT if kind != "cut"])
def test_an_upload_meets_a_passing_fault_and_is_whole(faulty_s3, kind):
    store = store_of(faulty_s3)
    faulty_s3.hurt(kind, "PUT", "part-", times=2 if kind == "503" else 1)
    write(store, *range(12))
    assert faulty_s3.count("PUT", "part-") >= 2
    check_read(store, 12)


@pytest.mark.parametrize("kind", ["500", "503", "hang", "reset", "cut", "lost_answer"])
def test_a_reading_meets_a_passing_fault_and_is_exact(faulty_s3, kind):
    store = store_of(faulty_s3)
    write(store, *range(6))
    write(store, *range(6, 12))
    faulty_s3.hurt(kind, "GET", "part-")
    check_read(store, 12)
    faulty_s3.hurt(kind, "GET", "list-type")
    faulty_s3.hurt(kind, "GET", "part-")
    wanted = pa.table({"clip_id": ["c000", "new"], "input_hash": ["a", "a"]})
    assert left_to_do(store, "corpus", RECORD.key, wanted)["clip_id"].to_pylist() == ["new"]
    assert not any(fault.times for fault in faulty_s3.faults)


def test_a_compaction_and_a_removal_get_through_faults_everywhere(faulty_s3):
    store = store_of(faulty_s3)
    for clip in range(4):
        write(store, clip)
    for kind, method in (("cut", "GET"), ("503", "GET"), ("reset", "PUT"), ("lost_answer", "PUT"), ("500", "DELETE"), ("reset", "DELETE")):
        faulty_s3.hurt(kind, method, "part-")
    assert compact(store, "corpus", RECORD.key).num_parts_after == 1
    check_read(store, 4)
    faulty_s3.hurt("503", "PUT", "part-")
    faulty_s3.hurt("500", "DELETE", "part-")
    summary = remove_clips(store, ["c003"])
    assert sum(summary.num_rows.values()) == 1
    check_read(store, 3)
    assert not any(fault.times for fault in faulty_s3.faults)
    assert check_store(store, deep=True).faults == []


@pytest.mark.parametrize(("kind", "attempts"), [("500", 2), ("503", 1), ("hang", 1), ("cut", 1)])
def test_a_fault_that_does_not_pass_ends_in_one_line_after_bounded_attempts(faulty_s3, kind, attempts, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", str(attempts))
    monkeypatch.setattr(s3, "MAX_READS", 2)
    store = store_of(faulty_s3)
    write(store, 0, 1)
    faulty_s3.requests.clear()
    if kind != "cut":
        faulty_s3.hurt(kind, "PUT", "part-", times=1000)
        with pytest.raises(StoreError, match=r"s3://.*part-\w+.parquet: cannot be written: .+; check that") as caught:
            write(store, 2, 3)
        assert is_one_line(caught)
        assert 2 <= faulty_s3.count("PUT", "part-") <= attempts * s3.MAX_READS
        assert objects_of(faulty_s3).count("<Key>store/corpus/features/fault@cccccccc/part-") == 1
    faulty_s3.hurt(kind, "GET", "part-", times=1000)
    with pytest.raises(StoreError, match=r"s3://.*part-\w+.parquet: cannot be read: .+; check that") as caught:
        read_pooled(store, "corpus", RECORD)
    # Nobody may be told to remove a good file because a server does not answer.
    assert is_one_line(caught)
    assert "remove" not in str(caught.value)
    assert faulty_s3.count("GET", "part-") <= attempts * s3.MAX_READS**2
    faulty_s3.faults.clear()
    check_read(store, 2)


@pytest.mark.parametrize("kind", ["reset", "closed"])
def test_a_server_that_cannot_be_reached_is_waited_for_and_not_for_ever(faulty_s3, monkeypatch, kind):
    monkeypatch.setattr(s3_session, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(s3_session, "SAY_AFTER_S", 0.0)
    store = store_of(faulty_s3)
    # More often than all other layers together would try.
    faulty_s3.hurt(kind, "PUT", "part-", times=40)
    write(store, *range(6))
    assert faulty_s3.count("PUT", "part-") == 41
    faulty_s3.hurt(kind, "GET", "part-", times=40)
    check_read(store, 6)
    assert not any(fault.times for fault in faulty_s3.faults)

    monkeypatch.setattr(s3_session, "MAX_OUTAGE_S", 0.5)
    faulty_s3.hurt(kind, "PUT", "part-", times=1000)
    with pytest.raises(StoreError, match=r"part-\w+.parquet: cannot be written: .*check that") as caught:
        write(store, 6, 7)
    assert is_one_line(caught)


def test_no_access_is_said_at_the_first_answer(faulty_s3):
    store = store_of(faulty_s3)
    write(store, 0)
    for method in ("GET", "PUT", "HEAD"):
        faulty_s3.hurt("403", method, times=1000)
    for action in (
        lambda: check_writable(store),
        lambda: write(store, 1),
        lambda: read_pooled(store, "corpus", RECORD),
        lambda: list_store(store),
        lambda: hold_leases(store, "corpus", [RECORD.key]).__enter__(),
    ):
        faulty_s3.requests.clear()
        with pytest.raises(
            StoreError, match=r"^s3://.*: cannot be (written|read|listed): (Access Denied|Forbidden); check.*AWS credentials"
        ) as caught:
            action()
        assert is_one_line(caught)
        assert len(faulty_s3.requests) == 1


def test_no_bucket_is_said_at_the_first_answer(faulty_s3):
    store = open_store("s3://there-is-no-such-bucket/store")
    for action in (lambda: check_writable(store), lambda: write(store, 1)):
        faulty_s3.requests.clear()
        with pytest.raises(StoreError, match=r"there-is-no-such-bucket/store.*: cannot be written: .*bucket does not exist") as caught:
            action()
        assert is_one_line(caught)
        assert faulty_s3.count("PUT") == 1


def test_nobody_at_the_endpoint_is_one_line(faulty_s3, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3_session, "MAX_OUTAGE_S", 1.0)
    for action in (lambda: check_writable(store_of(faulty_s3)), lambda: read_pooled(store_of(faulty_s3), "corpus", RECORD)):
        with pytest.raises(StoreError, match=r"Could not connect to the endpoint URL.*check .* AWS_ENDPOINT_URL") as caught:
            action()
        assert is_one_line(caught)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "many")
    with pytest.raises(ConfigError, match="AWS_MAX_ATTEMPTS='many'"):
        check_writable(store_of(faulty_s3))


@pytest.mark.parametrize("words", [["ls"], ["check"], ["compact"]])
def test_the_command_line_says_one_line_and_fails(faulty_s3, monkeypatch, capsys, words):
    store = store_of(faulty_s3)
    write(store, 0)
    faulty_s3.hurt("403", "GET", "part-", times=1000)
    monkeypatch.setattr(sys, "argv", ["mer-ray", "store", *words, store.url])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mer-ray: error: s3://")
    assert "cannot be read: Access Denied" in line


def test_leases_on_s3(faulty_s3, monkeypatch):
    store = store_of(faulty_s3)
    # The put arrives, its answer does not: the second one meets the first.
    faulty_s3.hurt("lost_answer", "PUT", "_lease-1-of-1")
    faulty_s3.hurt("503", "HEAD", "_lease-1-of-1")
    monkeypatch.setattr(lease_module, "BEAT_S", 0.05)
    with hold_leases(store, "corpus", [RECORD.key]) as leases:
        assert faulty_s3.count("PUT", "_lease-1-of-1") >= 2
        with pytest.raises(
            StoreError, match=rf"the extraction of part 1/2 cannot start beside the extraction of part 1/1 by process {os.getpid()}"
        ):
            hold_leases(store, "corpus", [RECORD.key], part=(1, 2)).__enter__()
        with pytest.raises(StoreError, match="cannot start beside"):
            hold_leases(store, "corpus", [RECORD.key]).__enter__()
        faulty_s3.hurt("lost_answer", "PUT", "_lease-1-of-1")
        first = faulty_s3.count("PUT", "_lease-1-of-1")
        while faulty_s3.count("PUT", "_lease-1-of-1") < first + 4:
            leases.check()
        assert "_lease-1-of-2" not in objects_of(faulty_s3)
    assert "_lease" not in objects_of(faulty_s3)


def test_a_dead_lease_on_s3_is_taken_over_and_its_owner_told(faulty_s3, monkeypatch):
    store = store_of(faulty_s3)
    code = (
        "import sys, time; from mer_ray.store.layout import open_store; from mer_ray.store.lease import hold_leases\n"
        "with hold_leases(open_store(sys.argv[1]), 'corpus', [sys.argv[2]]): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, store.url, RECORD.key], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        child.kill()
    with hold_leases(store, "corpus", [RECORD.key]) as sleeper:
        # As another machine would judge after a long silence.
        monkeypatch.setattr(lease_module, "DEAD_AFTER_S", -1.0)
        with hold_leases(store, "corpus", [RECORD.key]):
            monkeypatch.setattr(lease_module, "DEAD_AFTER_S", 90.0)
            monkeypatch.setattr(lease_module, "BEAT_S", 0.02)
            assert sleeper._leases[0].file.refresh("x") is False
            assert [is_alive for _, _, is_alive in list_leases(store, folder_of(store))] == [True]
    assert "_lease" not in objects_of(faulty_s3)


def test_a_removal_on_s3_ends_uploads_that_were_never_completed(faulty_s3):
    store = store_of(faulty_s3)
    write(store, 0, 1)
    bucket, key, _ = store.filesystem.split_path(f"{folder_of(store)}/part-{'0' * 32}.parquet")
    upload = store.filesystem.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    store.filesystem.call_s3("upload_part", Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"c001 is in here")
    summary = remove_clips(store, ["c001"])
    assert (sum(summary.num_rows.values()), summary.num_leftovers) == (1, 1)
    assert not store.filesystem.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads")
    check_read(store, 1)


def test_credentials_are_nowhere(faulty_s3, monkeypatch):
    store = store_of(faulty_s3)
    write(store, 0)
    with store.filesystem.open(f"{folder_of(store)}/_encoder.json") as opened:
        assert json.load(opened)["key"] == RECORD.key
        texts = [pickle.dumps(store), pickle.dumps(store.filesystem), repr(store).encode(), repr(store.filesystem).encode(), opened.read()]
    texts += [objects_of(faulty_s3).encode(), s3.what_happened(OSError(f"no key {CREDENTIALS[0]}")).encode()]
    with hold_leases(store, "corpus", [RECORD.key]) as leases:
        texts.append(repr(leases._leases).encode())
    for text in texts:
        assert not any(secret.encode() in text for secret in CREDENTIALS)
    with pytest.raises(StoreError, match="credentials have no place in a URL") as caught:
        open_store(f"s3://{CREDENTIALS[0]}:{CREDENTIALS[1]}@bucket/store")
    assert is_one_line(caught)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte that can be made read-only."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=False).returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


def test_a_full_disk_keeps_what_is_there(small_disk):
    store = open_store(small_disk / "store")
    write(store, *range(20))
    with pytest.raises(StoreError, match=r"part-\w+.parquet: cannot be written: .*No space left on device.*has room"):
        write(store, *range(20, 200))
    check_read(store, 20)
    assert [path.name for path in Path(folder_of(store)).iterdir() if path.name.endswith(".tmp")] == []
    # A removal needs room for the part that it writes anew.
    (small_disk / "filler").write_bytes(bytes(2**20 - sum(path.stat().st_size for path in Path(folder_of(store)).iterdir()) - 2**14))
    with pytest.raises(StoreError, match="No space left on device"):
        remove_clips(store, ["c001"])
    check_read(store, 20)
    assert sorted(path.name.partition("-")[0] for path in Path(folder_of(store)).iterdir()) == ["_encoder.json", "part"]
    (small_disk / "filler").unlink()
    assert sum(remove_clips(store, ["c001"]).num_rows.values()) == 1


def test_a_full_temporary_folder_is_told_from_s3(small_disk, faulty_s3, monkeypatch):
    import tempfile

    monkeypatch.setenv("TMPDIR", str(small_disk))
    monkeypatch.setattr(tempfile, "tempdir", None)
    store = store_of(faulty_s3)
    write(store, *range(20))
    with pytest.raises(
        StoreError, match=r"part-\w+.parquet: not written: its temporary file in .*disk cannot be made: .*No space.*set TMPDIR"
    ):
        write(store, *range(20, 200))
    assert list(small_disk.iterdir()) == []
    check_read(store, 20)


def test_a_read_only_disk_is_read_and_said(small_disk):
    store = open_store(small_disk / "store")
    write(store, *range(5))
    Path(folder_of(store), "_lease-1-of-2.json").write_text("{}")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    check_read(store, 5)
    report = check_store(store, deep=True)
    assert report.faults == []
    assert any("_lease-1-of-2.json: at work" in note for note in report.notes)
    assert list_store(store).rows[0][2] == 5
    actions = {
        "check_writable": lambda: check_writable(store),
        "write": lambda: write(store, 9),
        "lease": lambda: hold_leases(store, "corpus", [RECORD.key]).__enter__(),
        "compact": lambda: compact(store, "corpus", RECORD.key),
        "remove": lambda: remove_clips(store, ["c001"]),
    }
    for name, action in actions.items():
        with pytest.raises(StoreError, match=r"cannot be written: .*Read-only file system") as caught:
            action()
        assert is_one_line(caught), name
