"""The store on S3, against a real server process on loopback. Run as a script, this file is a second writer."""

import hashlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from mer_ray.core.errors import StoreError
from mer_ray.core.media_types import Features
from mer_ray.store.catalog import left_to_do, list_encoders, read_done, resolve_encoder
from mer_ray.store.compaction import compact
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled, read_sequences
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow, write_failures, write_features

pytestmark = pytest.mark.slow

BUCKET = "mer-ray-test"
IDENTITY = hashlib.sha256(b"s3").hexdigest()
RECORD = EncoderRecord(
    name="hubert",
    key=encoder_key("hubert", IDENTITY),
    identity=IDENTITY,
    config={"name": "hubert"},
    modality="audio",
    layers={"low": 8, "wide": 512},
    sequences=("wide",),
)


def make_row(clip: int, input_hash: str = "a") -> FeatureRow:
    generator = np.random.default_rng([clip, *input_hash.encode()])
    mean, std = ({layer: generator.standard_normal(dim).astype(np.float32) for layer, dim in RECORD.layers.items()} for _ in ("m", "s"))
    num_frames = 1 + clip % 40
    return FeatureRow(
        f"c{clip:03d}", input_hash, Features(num_frames, 0.02, mean, std, {"wide": generator.random((num_frames, 512), np.float32)})
    )


def write_parts(url: str, first: int, end: int) -> None:
    store = open_store(url)
    for start in range(first, end, 2):
        write_features(store, "corpus", RECORD, [make_row(clip) for clip in range(start, min(end, start + 2))])
        sys.stdout.write(f"{start}\n")
        sys.stdout.flush()


def start_writer(url: str, first: int, end: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, __file__, url, str(first), str(end)], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def s3_endpoint(tmp_path_factory):
    log = tmp_path_factory.mktemp("moto") / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with subprocess.Popen(command, stdout=output, stderr=output) as server:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                assert server.poll() is None, log.read_text()
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
            server.terminate()


@pytest.fixture
def url(s3_endpoint, monkeypatch, request):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    if not filesystem.exists(BUCKET):
        filesystem.mkdir(BUCKET)
    return f"s3://{BUCKET}/{request.node.name}/store"


def check_store(url: str, clips: range) -> None:
    store = open_store(url)
    pooled, sequences = read_pooled(store, "corpus", RECORD), read_sequences(store, "corpus", RECORD)
    rows = [make_row(clip) for clip in clips]
    assert pooled.clip_ids == sequences.clip_ids == tuple(row.clip_id for row in rows)
    assert np.array_equal(pooled.columns["mean_low"], np.stack([row.features.mean["low"] for row in rows]).astype(np.float16))
    assert np.array_equal(pooled.columns["std_wide"], np.stack([row.features.std["wide"] for row in rows]).astype(np.float16))
    assert np.array_equal(sequences.values["wide"], np.concatenate([row.features.sequences["wide"] for row in rows]).astype(np.float16))


def test_the_whole_store_works_on_s3(url):
    store = open_store(url)
    with pytest.raises(StoreError, match="no features of corpus corpus; the store has nothing yet"):
        resolve_encoder(store, "corpus", "hubert")
    write_parts(url, 0, 10)
    info = write_features(store, "corpus", RECORD, [make_row(clip, "old") for clip in (0, 9)])
    write_failures(store, "corpus", RECORD.key, [FailureRow("bad", "a", "decode", "MediaError", "no stream", datetime.now(UTC))])
    # What consoles of S3 leave where somebody made a folder.
    marker = f"{store.part_folder('corpus', RECORD.key, 'features')}/".removeprefix(f"{BUCKET}/")
    store.filesystem.call_s3("put_object", Bucket=BUCKET, Key=marker, Body=b"")
    assert list_encoders(store, "corpus") == [RECORD]
    with store.filesystem.open(info.path) as file:
        assert pq.read_table(file)["clip_id"].to_pylist() == ["c000", "c009"]
    done = read_done(store, "corpus", RECORD.key)
    assert done.num_rows == 12
    wanted = done.schema.empty_table().from_pylist([{"clip_id": name, "input_hash": "a"} for name in ("c000", "c001", "bad", "new")])
    # The newest row of c000 is of another input.
    assert left_to_do(store, "corpus", RECORD.key, wanted)["clip_id"].to_pylist() == ["c000", "new"]
    assert read_failures(store, "corpus", RECORD.key)["clip_id"].to_pylist() == ["bad"]

    write_parts(url, 0, 10)
    check_store(url, range(10))
    assert compact(pickle.loads(pickle.dumps(store)), "corpus", RECORD.key).num_parts_after == 2
    check_store(url, range(10))
    assert len(store.filesystem.glob(f"{store.part_folder('corpus', RECORD.key, 'features')}/part-*.parquet")) == 1


def test_two_processes_write_while_this_one_reads_and_compacts(url):
    counts = []
    with start_writer(url, 0, 30) as first, start_writer(url, 20, 50) as second:
        for writer in (first, second):
            for _ in range(5):
                writer.stdout.readline()
            counts.append(len(read_pooled(open_store(url), "corpus", RECORD, ["low"]).clip_ids))
            compact(open_store(url), "corpus", RECORD.key)
        for writer in (first, second):
            writer.stdout.read()
    assert first.returncode == second.returncode == 0
    assert counts[0] >= 10
    assert counts[1] >= 20
    check_store(url, range(50))
    compact(open_store(url), "corpus", RECORD.key)
    check_store(url, range(50))


def test_an_upload_that_is_killed_or_fails_publishes_nothing(url):
    with start_writer(url, 0, 1000) as writer:
        published = [int(writer.stdout.readline()) for _ in range(4)][-1] + 2
        writer.kill()
        published += 2 * len(writer.stdout.read().splitlines())
    assert writer.returncode == -signal.SIGKILL
    num_clips = len(read_pooled(open_store(url), "corpus", RECORD, ["low"]).clip_ids)
    assert num_clips in (published, published + 2)
    check_store(url, range(num_clips))

    class FeaturesThatFail(dict):
        def get(self, key, default=None):
            raise MemoryError

    row = make_row(1)
    late = Features(row.features.num_frames, 0.02, row.features.mean, row.features.std, FeaturesThatFail(row.features.sequences))
    with pytest.raises(MemoryError):
        write_features(open_store(url), "corpus", RECORD, [make_row(999), FeatureRow("late", "a", late)])
    check_store(url, range(num_clips))


def test_a_damaged_object_is_named(url):
    store = open_store(url)
    info = write_features(store, "corpus", RECORD, [make_row(clip) for clip in range(5)])
    content = store.filesystem.cat_file(info.path)
    store.filesystem.pipe_file(info.path, content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"s3://.*part-\w+.parquet: cannot be read as a part"):
        read_pooled(open_store(url), "corpus", RECORD)


def test_what_s3_refuses_is_one_clear_line(url, monkeypatch):
    store = open_store("s3://no-such-bucket/store")
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/store/.*cannot be written: .*bucket does not exist.*AWS credentials"):
        write_features(store, "corpus", RECORD, [make_row(1)])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(StoreError, match="Unable to locate credentials"):
        read_pooled(open_store(url), "corpus", RECORD)


if __name__ == "__main__":
    write_parts(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
