"""Media on a real S3 server process: fetched to the node for a shard, dropped after it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from media_factory import noise, write_wave

from mer_ray.core.media_types import Clip, Features
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import encoder_key
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.extraction import media_cache
from mer_ray.extraction.media_cache import drop_leftovers
from mer_ray.extraction.shard_encoder import EncodedShard, ShardDecoder, ShardEncoder, ShardWorker, begin_report
from mer_ray.extraction.shard_report import Fault
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store

CONFIG = SpectralConfig()
KEY = encoder_key(CONFIG)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    return media_cache._cache_folder()


def make_shard(folder: Path, bucket: str) -> tuple[Shard, Shard]:
    """The same three sounds in a folder and in a bucket, and one more that is in neither."""
    local, remote = [], []
    for number in range(3):
        path = folder / f"{number}.wav"
        write_wave(path, noise(0.6, seed=number).T.copy())
        fsspec.filesystem("s3").put_file(str(path), f"{bucket}/{path.name}")
        local.append(str(path))
        remote.append(f"{bucket}/{path.name}")
    local.append(str(folder / "gone.wav"))
    remote.append(f"{bucket}/gone.wav")
    return tuple(
        Shard(0, tuple(ShardClip(Clip(f"clip_{number}", path), {KEY: "hash"}) for number, path in enumerate(paths)))
        for paths in (local, remote)
    )


def outcomes(encoded: EncodedShard) -> list[Features | Fault]:
    return [outcome for _, outcome in encoded.outcomes[KEY]]


def test_remote_media_give_the_features_of_local_ones_and_are_dropped(tmp_path: Path, s3_bucket: str, cache: Path):
    local, remote = make_shard(tmp_path, s3_bucket)
    encoder = ShardEncoder([CONFIG], "cpu")
    decoder = ShardDecoder(encoder.configs, MediaLimits(), 64)
    found = []
    for shard in (local, remote):
        report = begin_report(shard)
        with decoder.fetched(shard, report) as copies:
            assert len([path for path in cache.rglob("*") if path.is_file()]) == (3 if shard is remote else 0)
            found.append(outcomes(encoder.encode(decoder.decode(shard, copies, report))))
        assert not list(cache.glob("*"))
    for here, there in zip(*(some[:3] for some in found), strict=True):
        assert isinstance(here, Features), here
        assert isinstance(there, Features), there
        assert all(np.array_equal(here.mean[layer], there.mean[layer]) for layer in here.mean)
    fault = found[1][3]
    assert isinstance(fault, Fault)
    assert (fault.stage, fault.error_type) == ("fetch", "MediaError")
    assert f"{s3_bucket}/gone.wav: no such file" in fault.message


def test_a_worker_records_what_could_not_be_fetched(tmp_path: Path, s3_bucket: str, cache: Path):
    _, remote = make_shard(tmp_path, s3_bucket)
    worker = ShardWorker([CONFIG], f"{s3_bucket}/store", "sounds", MediaLimits(), 64, "cpu")
    report = worker.process(remote)
    assert (report.done, report.failed) == ({KEY: 3}, {KEY: 1})
    assert report.seconds["fetch"] > 0
    (row,) = read_failures(open_store(f"{s3_bucket}/store"), "sounds", KEY).to_pylist()
    assert (row["clip_id"], row["stage"]) == ("clip_3", "fetch")


def test_what_a_killed_worker_left_is_dropped_and_what_a_living_one_holds_is_kept(tmp_path: Path, s3_bucket: str, cache: Path):
    _, remote = make_shard(tmp_path, s3_bucket)
    script = (
        "import os, signal, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from mer_ray.decoders.limits import MediaLimits; from mer_ray.extraction.media_cache import fetched\n"
        "with fetched([sys.argv[2]], MediaLimits()): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = remote.clips[0].clip.path
    assert path is not None
    subprocess.run([sys.executable, "-c", script, str(cache.parent), path], env=os.environ, check=False)
    (left,) = cache.glob("*")
    assert len(list(left.iterdir())) == 1
    with media_cache.fetched([path], MediaLimits()) as copies:
        drop_leftovers()
        assert Path(str(copies[path])).is_file()
        assert not left.exists()
    shutil.rmtree(cache)
