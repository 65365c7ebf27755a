"""A writer that is stopped by SIGSTOP before it publishes, and wakes when others have long done its work.

Run as a script, this file is the writer that is stopped.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mer_ray.core.errors import StoreError
from mer_ray.core.media_types import Features
from mer_ray.store import lease as lease_module
from mer_ray.store.catalog import left_to_do
from mer_ray.store.checking import check_store
from mer_ray.store.compaction import compact
from mer_ray.store.layout import Store, open_store
from mer_ray.store.lease import hold_leases
from mer_ray.store.reader import read_pooled
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.removal import remove_clips
from mer_ray.store.writer import FeatureRow, write_features

pytestmark = pytest.mark.slow

IDENTITY = "d" * 64
RECORD = EncoderRecord(
    name="zombie", key=encoder_key("zombie", IDENTITY), identity=IDENTITY, config={}, modality="audio", layers={"wide": 512}
)
NUM_CLIPS = 8


def make_row(clip: int, input_hash: str) -> FeatureRow:
    generator = np.random.default_rng([clip, *input_hash.encode()])
    mean, std = ({"wide": generator.standard_normal(512).astype(np.float32)} for _ in ("mean", "std"))
    return FeatureRow(f"c{clip}", input_hash, Features(2, 0.02, mean, std))


def write_and_stop(root: str) -> None:
    """Write a shard under a lease, and stop this process where the finished temporary file is about to be renamed."""

    def stop(name: str, arguments: tuple[object, ...]) -> None:
        if name == "os.rename" and str(arguments[1]).startswith(root) and "part-" in str(arguments[1]):
            os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(stop)
    # A beat would tell it on waking; the worst is a writer that publishes before it is told.
    lease_module.BEAT_S = 600.0
    with hold_leases(open_store(root), "corpus", [RECORD.key]) as leases:
        write_features(open_store(root), "corpus", RECORD, [make_row(clip, "a") for clip in range(NUM_CLIPS)])
        time.sleep(0.05)
        lease_module.DEAD_AFTER_S = 0.01
        leases.check()


@pytest.fixture
def zombie(tmp_path):
    """A stopped writer, whose lease counts as dead because it was silent for so long."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, __file__, tmp_path], env=environment, stderr=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        (lease,) = tmp_path.rglob("_lease-1-of-1.json")
        with pytest.raises(StoreError, match=f"by process {process.pid} on"), hold_leases(open_store(tmp_path), "corpus", [RECORD.key]):
            pass
        os.utime(lease, (1000, 1000))
        yield process
        process.kill()


def wake(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    return errors


def parts_of(root: Path) -> list[Path]:
    return sorted(Path(open_store(root).part_folder("corpus", RECORD.key, "features")).glob("part-*.parquet"))


def run_again(store: Store, input_hash: str, shards: tuple[range, ...]) -> None:
    """What the next run does: take the lease, plan what is left, write it, cut otherwise than before."""
    wanted = pa.table({"clip_id": [f"c{clip}" for clip in range(NUM_CLIPS)], "input_hash": [input_hash] * NUM_CLIPS})
    with hold_leases(store, "corpus", [RECORD.key]) as leases:
        assert left_to_do(store, "corpus", RECORD.key, wanted).num_rows == NUM_CLIPS
        for shard in shards:
            write_features(store, "corpus", RECORD, [make_row(clip, input_hash) for clip in shard])
        leases.check()
    assert left_to_do(store, "corpus", RECORD.key, wanted).num_rows == 0


def check_read(store: Store, input_hash: str) -> None:
    pooled = read_pooled(store, "corpus", RECORD)
    rows = [make_row(clip, input_hash) for clip in range(NUM_CLIPS)]
    assert pooled.clip_ids == tuple(row.clip_id for row in rows)
    assert np.array_equal(pooled.columns["mean_wide"], np.stack([row.features.mean["wide"] for row in rows]).astype(np.float16))


@pytest.mark.parametrize("shards", [(range(NUM_CLIPS),), (range(3), range(3, NUM_CLIPS))])
@pytest.mark.parametrize("input_hash", ["a", "b"])
def test_a_writer_that_wakes_after_the_next_run_and_a_compaction_does_no_harm(zombie, tmp_path, input_hash, shards):
    store = open_store(tmp_path)
    run_again(store, input_hash, shards)
    compact(store, "corpus", RECORD.key)
    assert len(parts_of(tmp_path)) == 1
    assert "this run no longer holds its lease" in wake(zombie)
    # The same clips with the same inputs make the same name: then it has replaced, else added, what is read once.
    num_parts = 1 if input_hash == "a" else 2
    assert [pq.read_metadata(path).num_rows for path in parts_of(tmp_path)] == [NUM_CLIPS] * num_parts
    check_read(store, input_hash)
    wanted = pa.table({"clip_id": [f"c{clip}" for clip in range(NUM_CLIPS)], "input_hash": [input_hash] * NUM_CLIPS})
    assert left_to_do(store, "corpus", RECORD.key, wanted).num_rows == 0
    compact(store, "corpus", RECORD.key)
    (path,) = parts_of(tmp_path)
    assert sorted(pq.read_table(path)["clip_id"].to_pylist()) == [f"c{clip}" for clip in range(NUM_CLIPS)]
    check_read(store, input_hash)
    report = check_store(store, deep=True)
    assert report.faults == []
    assert list(tmp_path.rglob("*lease*")) == []


def test_a_writer_that_wakes_after_a_removal_brings_nothing_back(zombie, tmp_path):
    store = open_store(tmp_path)
    assert remove_clips(store, ["c1"]).num_leftovers == 1
    assert "cannot be written" in wake(zombie)
    assert parts_of(tmp_path) == []


if __name__ == "__main__":
    write_and_stop(sys.argv[1])
