"""Plans and shards, from a manifest and a store on disk."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from speech_models import save_small_speech

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, read_manifest, write_manifest
from mer_ray.core.media_types import AudioFormat, Features, FrameFormat, TextFormat
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.describe import describe_encoder
from mer_ray.extraction.layout import Layout
from mer_ray.extraction.plan import ExtractionPlan, plan_extraction
from mer_ray.extraction.shards import cut_shards, decoded_bytes
from mer_ray.store.layout import open_store
from mer_ray.store.writer import FeatureRow, write_features

NUM_CLIPS = 200
ONE_ACTOR, TWO_ACTORS = Layout(1, 0.0, 0, "cpu"), Layout(2, 0.0, 0, "cpu")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    durations = np.random.default_rng(0).uniform(1, 12, NUM_CLIPS)
    for number in range(NUM_CLIPS):
        (tmp_path / f"{number:03d}.wav").touch()
    columns = {
        "clip_id": [f"clip_{number:03d}" for number in range(NUM_CLIPS)],
        "path": [f"{number:03d}.wav" for number in range(NUM_CLIPS)],
        "text": [f"sentence {number}" for number in range(NUM_CLIPS)],
        "duration_s": [None if number == 7 else duration for number, duration in enumerate(durations)],
        "num_bytes": [1_000_000] * NUM_CLIPS,
    }
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(NUM_CLIPS, field.type) for field in MANIFEST_SCHEMA
    ]
    manifest = Manifest(pa.Table.from_arrays(arrays, schema=MANIFEST_SCHEMA), ManifestFacts("small", (), str(tmp_path)))
    write_manifest(manifest, tmp_path / "m.parquet")
    return tmp_path


def config(corpus: Path, **changes: object) -> ExtractConfig:
    data = {"manifest": corpus / "m.parquet", "store": str(corpus / "store"), "encoders": [{"name": "hashing"}, {"name": "spectral"}]}
    return parse_config(ExtractConfig, {**data, **changes}, "test")


def store_sentences(plan: ExtractionPlan, corpus: Path, rows: range) -> None:
    encoder = HashingConfig()
    built = encoder.build("cpu")
    (key,) = (key for key in plan.keys if key.startswith("hashing"))
    texts = [plan.clips[row].text or "" for row in rows]
    features = [
        FeatureRow(plan.clips[row].clip_id, plan.hashes[key][row].as_py(), item)
        for row, item in zip(rows, built.encode(texts), strict=True)
    ]
    write_features(open_store(corpus / "store"), "small", describe_encoder(encoder, built), features)


def test_what_is_stored_is_not_left(corpus: Path):
    before = plan_extraction(config(corpus))
    store_sentences(before, corpus, range(50))
    plan = plan_extraction(config(corpus))
    hashing, spectral = plan.keys
    assert (plan.left[hashing], plan.left[spectral], plan.skipped[hashing]) == (NUM_CLIPS - 50, NUM_CLIPS, 50)
    assert plan.num_pending == NUM_CLIPS
    assert plan_extraction(config(corpus, encoders=[{"name": "hashing"}])).num_pending == NUM_CLIPS - 50


def test_shards_hold_every_pair_once_within_the_budgets(corpus: Path):
    store_sentences(plan_extraction(config(corpus)), corpus, range(50))
    settings = config(corpus, shard_mb=1.5, shard_media_s=30)
    plan = plan_extraction(settings)
    shards = list(cut_shards(plan, settings, ONE_ACTOR))
    pairs = Counter((item.clip.clip_id, key) for shard in shards for item in shard.clips for key in item.input_hashes)
    assert set(pairs.values()) == {1}
    assert len(pairs) == 2 * NUM_CLIPS - 50
    for shard in shards:
        assert len(shard.clips) == 1 or shard.media_s <= 30
        assert len(shard.clips) == 1 or shard.media_s * 64_000 <= 1.5 * 2**20
        assert len({tuple(item.input_hashes) for item in shard.clips}) == 1, "clips of a shard lack the same encoders"
    assert [shard.number for shard in shards] == list(range(len(shards)))


def test_the_longest_come_first_and_neighbours_are_alike(corpus: Path):
    settings = config(corpus, shard_media_s=20)
    shards = list(cut_shards(plan_extraction(settings), settings, ONE_ACTOR))
    longest = [max(item.clip.duration_s or 5.0 for item in shard.clips) for shard in shards]
    assert longest == sorted(longest, reverse=True)
    padded = sum(length * len(shard.clips) for length, shard in zip(longest, shards, strict=True))
    assert padded / sum(shard.media_s for shard in shards) < 1.05


def test_a_pass_has_its_own_encoders_only(corpus: Path):
    settings = config(corpus)
    plan = plan_extraction(settings)
    (hashing, _) = plan.keys
    shards = cut_shards(plan, settings, ONE_ACTOR, [hashing])
    assert {key for shard in shards for item in shard.clips for key in item.input_hashes} == {hashing}


def test_remote_media_of_a_shard_fit_its_share_of_the_cache(corpus: Path):
    settings = config(corpus, media_cache_mb=40)
    plan = plan_extraction(settings)
    local = len(cut_shards(plan, settings, TWO_ACTORS))
    remote = replace(plan, clips=[replace(clip, path=f"s3://bucket/{clip.clip_id}.wav") for clip in plan.clips])
    shards = list(cut_shards(remote, settings, TWO_ACTORS))
    assert len(shards) >= local
    # Two actors, two shards each at once.
    assert max(sum(item.clip.num_bytes or 0 for item in shard.clips) for shard in shards) * 4 <= 40 * 2**20


def test_decode_tasks_that_fetch_share_the_cache_too(corpus: Path):
    settings = config(corpus, media_cache_mb=40)
    plan = plan_extraction(settings)
    plan = replace(plan, clips=[replace(clip, path=f"s3://bucket/{clip.clip_id}.wav") for clip in plan.clips])
    shards = cut_shards(plan, settings, Layout(1, 1.0, 10, "cuda"))
    assert max(sum(item.clip.num_bytes or 0 for item in shard.clips) for shard in shards) * 10 <= 40 * 2**20


def test_features_of_archived_media_stay_done(corpus: Path):
    plan = plan_extraction(config(corpus, encoders=[{"name": "spectral"}]))
    (key,) = plan.keys
    encoder = SpectralConfig()
    record = describe_encoder(encoder, encoder.build("cpu"))
    rows = [FeatureRow(plan.clips[row].clip_id, plan.hashes[key][row].as_py(), Features(0, 0.0)) for row in range(NUM_CLIPS - 1)]
    write_features(open_store(corpus / "store"), "small", record, rows)
    for path in corpus.glob("*.wav"):
        path.unlink()
    with pytest.raises(ManifestError, match="none of its 200 media files is there"):
        plan_extraction(config(corpus, encoders=[{"name": "spectral"}]))
    (corpus / "000.wav").touch()
    left = plan_extraction(config(corpus, encoders=[{"name": "spectral"}])).lacks[key]
    # One changed, one was never done.
    assert np.flatnonzero(left).tolist() == [0, NUM_CLIPS - 1]


def test_two_encoders_that_differ_only_in_how_fast_are_refused(corpus: Path):
    weights = str(save_small_speech(corpus / "hubert", "hubert"))
    encoders = [{"name": "hubert", "weights": weights}, {"name": "hubert", "weights": weights, "max_batch_s": 5}]
    with pytest.raises(ConfigError, match="two of them are the same encoder hubert@"):
        plan_extraction(config(corpus, encoders=encoders))


@pytest.mark.parametrize("duration_s", [float("nan"), float("inf"), -1.0])
def test_what_is_no_duration_is_refused(corpus: Path, duration_s: float):
    manifest = read_manifest(corpus / "m.parquet")
    column = pa.array([duration_s, *manifest.table["duration_s"].to_pylist()[1:]], pa.float64())
    table = manifest.table.set_column(manifest.table.schema.get_field_index("duration_s"), "duration_s", column)
    write_manifest(replace(manifest, table=table), corpus / "m.parquet")
    with pytest.raises(ManifestError, match="clip clip_000: a duration of"):
        plan_extraction(config(corpus))


def test_parts_of_a_job_array_share_out_the_clips(corpus: Path):
    parts = [[clip.clip_id for clip in plan_extraction(config(corpus, part=f"{index}/3")).clips] for index in (1, 2, 3)]
    assert sorted(clip_id for part in parts for clip_id in part) == [f"clip_{number:03d}" for number in range(NUM_CLIPS)]
    assert min(map(len, parts)) > NUM_CLIPS / 5
    store_sentences(plan_extraction(config(corpus)), corpus, range(100))
    assert [[clip.clip_id for clip in plan_extraction(config(corpus, part=f"{index}/3")).clips] for index in (1, 2, 3)] == parts


def test_decoded_bytes_follow_duration_or_number_of_frames():
    durations = np.array([1.0, 4.0], np.float32)
    assert decoded_bytes(durations, [AudioFormat(16_000)]).tolist() == [64_000, 256_000]
    assert decoded_bytes(durations, [FrameFormat(10, num_frames=2)]).tolist() == [600, 600]
    assert decoded_bytes(durations, [FrameFormat(10, rate_hz=5.0), TextFormat()]).tolist() == [1_600, 6_100]


def test_a_root_that_is_not_mounted_is_said_before_anything_starts(corpus: Path):
    for path in corpus.glob("*.wav"):
        path.unlink()
    with pytest.raises(ManifestError, match=rf"none of its 200 media files is there, e\.g\. {corpus}/000\.wav; mount or mend the root"):
        plan_extraction(config(corpus))
    assert plan_extraction(config(corpus, encoders=[{"name": "hashing"}])).num_pending == NUM_CLIPS


def test_nothing_left_makes_no_shards(corpus: Path):
    settings = config(corpus, encoders=[{"name": "hashing"}])
    store_sentences(plan_extraction(settings), corpus, range(NUM_CLIPS))
    plan = plan_extraction(settings)
    assert (plan.num_pending, plan.media_s, len(cut_shards(plan, settings, TWO_ACTORS))) == (0, 0.0, 0)
