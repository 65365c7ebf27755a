"""Transcription on a real local Ray: real sound files, a small random Whisper, real Parquet."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from whisper_weights import save_small_whisper

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ClusterError, ConfigError, EncoderError, RunError
from mer_ray.core.manifest import Manifest, read_manifest, write_manifest
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.transcription import TranscribeConfig, plan_transcription, transcribe

pytestmark = [pytest.mark.ray, pytest.mark.slow]
NUM_CLIPS = 10
# The corpus says what these speak.
OWN_TEXTS = {2: "a sentence of the corpus", 5: "das steht im Korpus"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_whisper(tmp_path_factory.mktemp("weights") / "whisper")


@pytest.fixture
def make(tmp_path: Path, weights: Path, shared_data: Path) -> Callable[..., TranscribeConfig]:
    """A manifest of real speech in which two clips have a transcript, and the config that transcribes it."""
    folder = tmp_path / "wav"
    folder.mkdir()
    for path in sorted((shared_data / "emodb" / "wav").glob("*.wav"))[:NUM_CLIPS]:
        (folder / path.name).write_bytes(path.read_bytes())
    corpus = {"corpus": {"name": "files", "path": str(folder)}, "out": tmp_path / "m.parquet"}
    build_manifest(parse_config(ManifestConfig, corpus, "test"))
    manifest = read_manifest(tmp_path / "m.parquet")
    texts = [OWN_TEXTS.get(number) for number in range(NUM_CLIPS)]
    languages = ["de" if text and "Korpus" in text else None for text in texts]
    table = manifest.table
    for name, values in (("text", texts), ("language", languages)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    write_manifest(Manifest(table, manifest.facts), tmp_path / "m.parquet")

    def make_config(**changes: object) -> TranscribeConfig:
        fields = {"manifest": tmp_path / "m.parquet", "out": tmp_path / "out.parquet", "weights": str(weights), "num_actors": 2, **changes}
        return parse_config(TranscribeConfig, fields, "test")

    return make_config


def test_clips_without_a_sentence_get_one_and_the_corpus_keeps_its_own(make: Callable[..., TranscribeConfig], ray_cluster: None) -> None:
    config = make()
    before = read_manifest(config.manifest)
    summary = transcribe(config)
    assert (summary.num_corpus, summary.num_done, summary.num_failed) == (2, NUM_CLIPS - 2, 0)
    after = read_manifest(config.new_manifest)
    assert after.facts == before.facts
    unchanged = [name for name in before.table.column_names if name not in ("text", "language")]
    assert after.table.select(unchanged).equals(before.table.select(unchanged))
    texts, languages = after.table["text"].to_pylist(), after.table["language"].to_pylist()
    assert {number: texts[number] for number in OWN_TEXTS} == OWN_TEXTS
    assert (languages[2], languages[5]) == (None, "de")
    assert all(texts)
    assert len(set(texts)) > NUM_CLIPS // 2

    transcripts = pq.read_table(config.transcripts_table).to_pylist()
    assert [row["clip_id"] for row in transcripts] == after.table["clip_id"].to_pylist()
    assert [row["text"] for row in transcripts] == texts
    for number, row in enumerate(transcripts):
        assert row["source"] == ("corpus" if number in OWN_TEXTS else "whisper")
        assert (row["confidence"] is None) == (number in OWN_TEXTS)
        assert number in OWN_TEXTS or (0 < row["confidence"] < 1 and row["language"] == languages[number])


def test_a_second_run_finds_nothing_and_a_change_only_its_own(make: Callable[..., TranscribeConfig], ray_cluster: None) -> None:
    config = make()
    transcribe(config)
    first = read_manifest(config.new_manifest).table
    again = transcribe(config)
    assert (again.num_done, again.num_before) == (0, NUM_CLIPS - 2)
    assert read_manifest(config.new_manifest).table.equals(first)

    files = sorted((config.manifest.parent / "wav").glob("*.wav"))
    files[0].write_bytes(files[1].read_bytes())
    changed = transcribe(config)
    assert (changed.num_done, changed.num_before) == (1, NUM_CLIPS - 3)
    texts = read_manifest(config.new_manifest).table["text"].to_pylist()
    assert texts[0] == texts[1]
    assert texts[1:] == first["text"].to_pylist()[1:]


def test_another_models_transcripts_are_not_taken(make: Callable[..., TranscribeConfig], tmp_path: Path, ray_cluster: None) -> None:
    config = make()
    transcribe(config)
    first = read_manifest(config.new_manifest).table["text"].to_pylist()
    other = make(weights=str(save_small_whisper(tmp_path / "other", seed=7)))
    assert len(plan_transcription(other).pending) == NUM_CLIPS - 2
    assert transcribe(other).num_done == NUM_CLIPS - 2
    second = read_manifest(config.new_manifest).table["text"].to_pylist()
    assert second != first
    assert plan_transcription(config).pending == ()
    transcribe(config)
    assert read_manifest(config.new_manifest).table["text"].to_pylist() == first


def test_a_broken_file_is_a_failure_with_its_reason(make: Callable[..., TranscribeConfig], ray_cluster: None) -> None:
    config = make(max_failure_rate=0.2)
    broken = sorted((config.manifest.parent / "wav").glob("*.wav"))[0]
    whole = broken.read_bytes()
    broken.write_bytes(b"RIFF")
    with pytest.raises(RunError, match=rf"1 of 8 clips failed, 12\.5%.*{broken.stem}: .*--retry-failed"):
        transcribe(make())
    assert not config.new_manifest.exists()
    summary = transcribe(config)
    assert (summary.num_done, summary.num_failed, summary.num_standing) == (0, 0, 1)
    assert read_manifest(config.new_manifest).table["text"].to_pylist()[0] is None
    assert str(broken) in summary.failures[0][1]

    # The same file again: its text comes with --retry-failed even where the input hash has not changed.
    broken.write_bytes(whole)
    assert transcribe(make(retry_failed=True)).num_standing == 0
    assert all(read_manifest(config.new_manifest).table["text"].to_pylist())


def test_errors_come_before_anything_is_written(make: Callable[..., TranscribeConfig], tmp_path: Path, ray_cluster: None) -> None:
    with pytest.raises(ConfigError, match="is the manifest that is read"):
        make(out=tmp_path / "m.parquet")
    with pytest.raises(EncoderError, match="no such folder"):
        transcribe(make(weights="./nowhere"))
    with pytest.raises(ClusterError, match="num_actors: 99 do not fit on 4 CPUs"):
        transcribe(make(num_actors=99))
    with pytest.raises(ConfigError, match="does not know 'xx'"):
        transcribe(make(language="xx"))
    assert not (tmp_path / "out.parquet").exists()
    assert make(out=None).new_manifest == tmp_path / "m.transcribed.parquet"


def test_a_killed_transcription_goes_on_where_it_was(make: Callable[..., TranscribeConfig], tmp_path: Path) -> None:
    config = make(num_actors=1, shard_media_s=0.5)
    written = tmp_path / "transcribe.yaml"
    written.write_text(json.dumps(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "mer_ray.cli", "transcribe", str(written)]
    victim = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while victim.poll() is None and len(list(config.parts_folder.glob("part-*.parquet"))) < 2:
            time.sleep(0.02)
        assert victim.poll() is None, "the transcription ended before it could be killed"
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
    before = {path: path.read_bytes() for path in config.parts_folder.glob("part-*.parquet")}
    assert not config.new_manifest.exists()
    subprocess.run(command, check=True, capture_output=True)
    assert all(path.read_bytes() == content for path, content in before.items())
    done = [row for path in config.parts_folder.glob("part-*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(done) == len({row["clip_id"] for row in done}) == NUM_CLIPS - 2
    assert all(read_manifest(config.new_manifest).table["text"].to_pylist())
    assert np.isfinite([row["confidence"] for row in done]).all()
