"""Media and store behind an S3 server that fails: what passes is tried again, what does not is a failure of its own clip."""

from pathlib import Path

import numpy as np
import pytest
from faulty_s3 import FaultyS3
from media_factory import noise, write_wave

from mer_ray.core.errors import StoreError
from mer_ray.core.media_types import Clip
from mer_ray.core.s3 import s3_filesystem
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import encoder_key
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.extraction.shard_encoder import ShardWorker
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled

CONFIG = SpectralConfig()
KEY = encoder_key(CONFIG)
NUM_CLIPS = 3

pytestmark = pytest.mark.slow


@pytest.fixture
def shard(faulty_s3: FaultyS3, tmp_path: Path) -> Shard:
    clips = []
    for number in range(NUM_CLIPS):
        path = write_wave(tmp_path / f"{number}.wav", noise(0.6, seed=number).T.copy())
        s3_filesystem().put_file(str(path), f"{faulty_s3.bucket}/media/{path.name}")
        clips.append(Clip(f"clip_{number}", f"s3://{faulty_s3.bucket}/media/{path.name}"))
    return Shard(0, tuple(ShardClip(clip, {KEY: "hash"}) for clip in clips))


def features(store: str) -> np.ndarray:
    opened = open_store(store)
    return read_pooled(opened, "sounds", resolve_encoder(opened, "sounds", "spectral"), ["mfcc"]).columns["mean_mfcc"]


def worker_for(store: str) -> ShardWorker:
    return ShardWorker([CONFIG], store, "sounds", MediaLimits(), 64, "cpu")


@pytest.mark.parametrize("kind", ["500", "503", "reset", "cut", "hang"])
def test_media_that_fail_for_a_moment_give_the_same_features(kind: str, shard: Shard, faulty_s3: FaultyS3, tmp_path: Path):
    worker_for(str(tmp_path / "calm")).process(shard)
    faulty_s3.hurt(kind, "GET", "media/1.wav", times=1)
    report = worker_for(str(tmp_path / "hurt")).process(shard)
    assert report.done == {KEY: NUM_CLIPS}
    assert np.array_equal(features(str(tmp_path / "hurt")), features(str(tmp_path / "calm")))


def test_media_that_never_come_are_failures_of_their_own_clips(shard: Shard, faulty_s3: FaultyS3, tmp_path: Path):
    faulty_s3.hurt("500", "GET", "media/1.wav", times=1000)
    report = worker_for(str(tmp_path / "store")).process(shard)
    assert (report.done, report.failed) == ({KEY: NUM_CLIPS - 1}, {KEY: 1})
    (row,) = read_failures(open_store(tmp_path / "store"), "sounds", KEY).to_pylist()
    assert (row["clip_id"], row["stage"], row["error_type"]) == ("clip_1", "fetch", "MediaError")
    assert "media/1.wav: cannot be " in row["message"]
    assert "\n" not in row["message"]


@pytest.mark.parametrize("kind", ["503", "reset", "cut_request", "lost_answer"])
def test_a_store_that_fails_for_a_moment_has_everything_once(kind: str, shard: Shard, faulty_s3: FaultyS3, tmp_path: Path):
    worker_for(str(tmp_path / "calm")).process(shard)
    store = f"s3://{faulty_s3.bucket}/store"
    faulty_s3.hurt(kind, "PUT", "part-", times=1)
    assert worker_for(store).process(shard).done == {KEY: NUM_CLIPS}
    assert np.array_equal(features(store), features(str(tmp_path / "calm")))
    assert len([path for path in s3_filesystem().find(f"{faulty_s3.bucket}/store") if "part-" in path]) == 1


def test_a_store_that_stays_away_is_one_clear_line(shard: Shard, faulty_s3: FaultyS3):
    faulty_s3.hurt("503", "PUT", "part-", times=1000)
    with pytest.raises(StoreError, match=r"part-\w+\.parquet: cannot be written: ") as error:
        worker_for(f"s3://{faulty_s3.bucket}/store").process(shard)
    assert "\n" not in str(error.value)
