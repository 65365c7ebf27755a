"""Extraction on a real local Ray: real media, real Parquet."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from speech_models import save_small_speech

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ClusterError, RunError, StoreError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.config import Budget, ExtractConfig
from mer_ray.extraction.dry_run import plan_tables
from mer_ray.extraction.extract import extract
from mer_ray.extraction.layout import Layout
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.plan import plan_extraction
from mer_ray.extraction.shards import cut_shards
from mer_ray.extraction.synth import synthesise
from mer_ray.store.catalog import read_done, resolve_encoder
from mer_ray.store.encoder_cost import find_cost
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled

ENCODERS = [{"name": "spectral"}, {"name": "gradient"}, {"name": "hashing"}]
NUM_CLIPS = 12

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic corpus, complete in all modalities."""
    folder = tmp_path_factory.mktemp("corpus")
    whole = {"missing": 0.0}
    config = {"out": folder, "num_clips": NUM_CLIPS, "num_speakers": 4, "audio": whole, "vision": whole, "text": whole}
    synthesise(parse_config(SynthConfig, config, "test"))
    return folder


@pytest.fixture
def corpus(clips: Path, tmp_path: Path) -> Path:
    """A copy whose files a test may break."""
    copy = tmp_path / "corpus"
    subprocess.run(["cp", "-r", str(clips), str(copy)], check=True)
    return copy


def make_manifest(corpus: Path) -> Path:
    out = corpus.parent / "manifest.parquet"
    build_manifest(parse_config(ManifestConfig, {"corpus": {"name": "table", "path": str(corpus / "clips.csv")}, "out": out}, "test"))
    return out


def extract_config(corpus: Path, **changes: object) -> ExtractConfig:
    defaults = {
        "manifest": corpus.parent / "manifest.parquet",
        "store": str(corpus.parent / "store"),
        "encoders": ENCODERS,
        "num_actors": 2,
    }
    return parse_config(ExtractConfig, {**defaults, **changes}, "test")


def keys_of(config: ExtractConfig) -> list[str]:
    store, name = open_store(config.store), read_manifest(config.manifest).facts.corpus
    return [resolve_encoder(store, name, encoder.name).key for encoder in config.encoders]


def done_ids(config: ExtractConfig, key: str) -> list[str]:
    table = read_done(open_store(config.store), read_manifest(config.manifest).facts.corpus, key)
    return sorted(table["clip_id"].to_pylist())


def test_every_clip_is_extracted_once_and_a_second_run_has_nothing_to_do(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    config = extract_config(corpus, summary=corpus.parent / "summary.json")
    first = extract(config)
    wanted = sorted(read_manifest(config.manifest).table["clip_id"].to_pylist())
    assert len(wanted) == NUM_CLIPS
    for key in keys_of(config):
        assert done_ids(config, key) == wanted
        assert first.done[key] == NUM_CLIPS
    costs = {key: find_cost(open_store(config.store), read_manifest(config.manifest).facts.corpus, key) for key in keys_of(config)}
    assert all(cost.device == "cpu" and cost.device_s >= first.encode_s[key] > 0 for key, cost in costs.items())
    assert {key: cost.num_clips for key, cost in costs.items()} == {key: NUM_CLIPS - first.lacking[key] for key in costs}
    parts = sorted(Path(config.store).rglob("*.parquet"))
    second = extract(config)
    assert (second.num_clips, set(second.skipped.values())) == (0, {NUM_CLIPS})
    assert sorted(Path(config.store).rglob("*.parquet")) == parts
    summary = json.loads((corpus.parent / "summary.json").read_text())
    assert summary["num_clips"] == 0


def test_the_summary_counts_media_and_stages(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    summary = extract(extract_config(corpus))
    durations = read_manifest(corpus.parent / "manifest.parquet").table["duration_s"]
    assert summary.media_s == pytest.approx(pc.sum(durations).as_py())
    assert min(summary.seconds["decode"], summary.seconds["encode"], summary.seconds["write"], summary.work_s) > 0
    assert 0 < sum(summary.encode_s.values()) <= summary.seconds["encode"]
    assert summary.limited_by == max(summary.busy, key=lambda stage: summary.busy[stage])
    assert 0 < summary.busy["encode"] <= 1.05
    assert summary.work_s <= summary.wall_s


def test_only_a_changed_clip_is_extracted_again(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    config = extract_config(corpus)
    extract(config)
    changed = next(corpus.rglob("*.mp4"))
    other = next(path for path in corpus.rglob("*.mp4") if path != changed)
    changed.write_bytes(other.read_bytes())
    summary = extract(config)
    spectral, gradient, hashing = keys_of(config)
    assert (summary.done[spectral], summary.done[gradient], summary.done[hashing]) == (1, 1, 0)


def test_a_broken_file_is_a_failure_of_its_own_clip_and_keeps_its_text(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    broken = sorted(corpus.rglob("*.mp4"))[3]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 3])
    config = extract_config(corpus, max_failure_rate=0.2)
    summary = extract(config)
    spectral, gradient, hashing = keys_of(config)
    assert (summary.failed[spectral], summary.failed[gradient], summary.failed[hashing]) == (1, 1, 0)
    store, name = open_store(config.store), read_manifest(config.manifest).facts.corpus
    failures = read_failures(store, name, spectral).to_pylist()
    assert [(row["clip_id"], row["stage"], row["error_type"]) for row in failures] == [(broken.stem, "decode", "MediaError")]
    assert str(broken) in failures[0]["message"]
    assert extract(config).num_clips == 0, "a failed clip is not tried again by itself"

    broken.write_bytes(whole)
    mended = extract(config.model_copy(update={"retry_failed": True}))
    assert (mended.done[spectral], mended.done[gradient], mended.done[hashing]) == (1, 1, 0)
    assert read_failures(store, name, spectral).num_rows == 0


def test_too_many_failures_end_in_an_error_and_lose_nothing(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    for path in sorted(corpus.rglob("*.mp4"))[:6]:
        path.unlink()
    config = extract_config(corpus)
    with pytest.raises(RunError, match=r"12 of 36 \(clip, encoder\) pairs failed, 33.3%.*--retry-failed"):
        extract(config)
    with pytest.raises(RunError, match=r"12 of 36 \(clip, encoder\) pairs failed"):
        extract(config)
    assert sum(extract(config.model_copy(update={"max_failure_rate": 0.5})).standing.values()) == 12
    spectral, _, hashing = keys_of(config)
    assert len(done_ids(config, spectral)) == 6
    assert len(done_ids(config, hashing)) == NUM_CLIPS


def test_a_decode_stage_of_its_own_gives_the_same_features(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    in_actor = extract_config(corpus)
    ahead = extract_config(corpus, store=str(corpus.parent / "ahead"), decode="ahead", num_actors=1)
    extract(in_actor)
    extract(ahead)
    name = read_manifest(in_actor.manifest).facts.corpus
    ids = read_manifest(in_actor.manifest).table["clip_id"].to_pylist()
    for encoder in ("spectral", "gradient", "hashing"):
        pair = []
        for config in (in_actor, ahead):
            store = open_store(config.store)
            record = resolve_encoder(store, name, encoder)
            pair.append(read_pooled(store, name, record, list(record.layers), ("mean", "std"), ids))
        for column, values in pair[0].columns.items():
            assert (values == pair[1].columns[column]).all(), column


def test_more_actors_than_cores_are_refused_before_anything_starts(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    with pytest.raises(ClusterError, match="num_actors: 99 do not fit on 4 CPUs"):
        extract(extract_config(corpus, num_actors=99))
    with pytest.raises(ClusterError, match="gpus_per_actor: 1 GPUs asked for, the cluster has 0"):
        extract(extract_config(corpus, gpus_per_actor=1))


def test_shards_share_out_all_clips_once(corpus: Path):
    make_manifest(corpus)
    config = extract_config(corpus)
    plan = plan_extraction(config)
    shards = cut_shards(plan, config, Layout(2, 0.0, 0, "cpu"))
    ids = [item.clip.clip_id for shard in shards for item in shard.clips]
    assert sorted(ids) == sorted(read_manifest(config.manifest).table["clip_id"].to_pylist())
    assert len(shards) > 4
    one_each = cut_shards(plan, extract_config(corpus, shard_media_s=0.1), Layout(2, 0.0, 0, "cpu"))
    one_each = list(one_each)
    assert len(one_each) == NUM_CLIPS
    durations = [shard.media_s for shard in one_each]
    assert durations == sorted(durations, reverse=True)


def test_a_killed_extraction_goes_on_and_every_clip_is_read_once(corpus: Path, tmp_path: Path):
    make_manifest(corpus)
    config = tmp_path / "extract.yaml"
    store = tmp_path / "store"
    config.write_text(
        json.dumps(
            {"manifest": str(tmp_path / "manifest.parquet"), "store": str(store), "encoders": ENCODERS, "num_actors": 1, "shard_media_s": 1}
        )
    )
    command = [sys.executable, "-m", "mer_ray.cli", "extract", str(config)]
    victim = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while victim.poll() is None and len(list(store.rglob("part-*.parquet"))) < 4:
            time.sleep(0.02)
        assert victim.poll() is None, "the extraction ended before it could be killed"
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
    before = {path: path.read_bytes() for path in store.rglob("part-*.parquet")}
    for path in before:
        assert pq.read_table(path).num_rows > 0
    subprocess.run(command, check=True, capture_output=True)
    assert all(path.read_bytes() == content for path, content in before.items())
    parsed = extract_config(corpus)
    wanted = sorted(read_manifest(parsed.manifest).table["clip_id"].to_pylist())
    for key in keys_of(parsed):
        assert sorted(set(done_ids(parsed, key))) == wanted
        reader = open_store(parsed.store)
        name = read_manifest(parsed.manifest).facts.corpus
        record = resolve_encoder(reader, name, key)
        pooled = read_pooled(reader, name, record, list(record.layers)[:1], ("mean",), wanted)
        assert list(pooled.clip_ids) == wanted
        assert not pooled.missing


def test_an_error_of_a_worker_arrives_as_it_was_raised(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    config = extract_config(corpus, encoders=[{"name": "hashing"}])
    extract(config)
    record = next(Path(config.store).rglob("_encoder.json"))
    record.write_text(record.read_text().replace('"surface":', '"other":'))
    for part in Path(config.store).rglob("part-*.parquet"):
        part.unlink()
    with pytest.raises(StoreError, match="describes another encoder under the same key"):
        extract(config)


def test_what_does_not_fit_together_follows_in_a_second_pass(corpus: Path, ray_cluster: None, tmp_path: Path):
    make_manifest(corpus)
    weights = [str(save_small_speech(tmp_path / f"hubert_{seed}", "hubert", "layer", seed=seed)) for seed in (0, 1)]
    encoders = [{"name": "hubert", "weights": folder} for folder in weights]
    together = extract_config(corpus, encoders=encoders, num_actors=1)
    assert len(extract(together).passes) == 1
    # Each needs 1 GB for its process and its work, and less than a MB of weights.
    num_bytes = together.encoders[0].num_weight_bytes()
    apart = extract_config(
        corpus, store=str(tmp_path / "apart"), encoders=encoders, num_actors=1, actor_memory_gb=(1e9 + 1.5 * num_bytes) / 1e9
    )
    summary = extract(apart)
    assert [len(keys) for keys in summary.passes] == [1, 1]
    assert set(summary.done.values()) == {NUM_CLIPS}
    with pytest.raises(ClusterError, match=r"needs about 1\.0 GB, an actor has 0\.5 GB"):
        extract(extract_config(corpus, store=str(tmp_path / "none"), encoders=encoders, actor_memory_gb=0.5))


def test_a_spent_budget_ends_the_run_and_the_next_one_goes_on(corpus: Path, ray_cluster: None):
    make_manifest(corpus)
    config = extract_config(corpus, num_actors=1, shard_media_s=3, budget={"hours": 7 / 3600})
    left = NUM_CLIPS
    for _ in range(10):
        try:
            extract(config)
        except RunError as error:
            found = re.search(r"the budget is spent: (\d+) clips are stored, (\d+) are left; run again", str(error))
            assert found
            assert int(found[1]) + int(found[2]) == left
            left = int(found[2])
            config = config.model_copy(update={"budget": Budget(hours=2 * (config.budget.hours or 1))})
        else:
            break
    assert extract(config).num_clips == 0
    for key in keys_of(config):
        assert len(done_ids(config, key)) == NUM_CLIPS


def test_a_dry_run_says_what_goes_together_and_what_it_costs(corpus: Path):
    make_manifest(corpus)
    config = extract_config(corpus, num_actors=2, price_per_gpu_hour=2.0)
    plan, estimate = plan_tables(config)
    assert [row[0] for row in plan.rows] == [1, 1, 1]
    assert "each clip is decoded once" in plan.notes[1]
    values = dict(estimate.rows)
    assert values["GPU-hours"] == "none: no GPU takes part"
    assert "money" not in values
    stored_mb = float(values["bytes in the store"].removesuffix(" MB"))
    extract_in_own_ray(config)
    written = sum(path.stat().st_size for path in Path(config.store).rglob("part-*.parquet")) / 1e6
    assert stored_mb == pytest.approx(written, rel=0.05)
    (nothing,) = plan_tables(config)
    assert [row[-1] for row in nothing.rows] == [0, 0, 0]


def extract_in_own_ray(config: ExtractConfig) -> None:
    """In a process of its own, so that no cluster of the test session is needed."""
    command = [sys.executable, "-m", "mer_ray.cli", "extract"]
    encoders = json.dumps([encoder.model_dump(mode="json") for encoder in config.encoders])
    subprocess.run(
        [*command, f"manifest={config.manifest}", f"store={config.store}", f"encoders={encoders}", "num_actors=2"],
        check=True,
        capture_output=True,
    )
