import csv
import wave
from pathlib import Path
from typing import Any

import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.workflow.verbs import VERBS


def write_member(folder: Path, name: str, rows: list[str], seed: int, split: str | None = None) -> dict[str, Any]:
    (folder / name).mkdir()
    for number, clip in enumerate("abc"):
        with wave.open(str(folder / name / f"{clip}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes([number, seed]) * 4000)
    (folder / name / "t.csv").write_text("\n".join(["path,emotion,speaker_id", *rows, ""]))
    corpus = {"name": "table", "path": str(folder / name / "t.csv"), "corpus_name": name, "classes": ["happy", "sad"]}
    return {"corpus": corpus, "split": split}


def config_of(folder: Path, *members: dict[str, Any], **options: Any) -> ManifestConfig:
    corpus = {"name": "joined", "corpus_name": "all", "members": list(members)}
    return parse_config(ManifestConfig, {"corpus": corpus, "out": str(folder / "m.parquet"), **options}, "manifest")


ROWS = ["a.wav,happy,1", "b.wav,sad,1", "c.wav,sad,2"]


def test_media_of_all_members_are_found_and_counted(tmp_path: Path):
    one, two = write_member(tmp_path, "one", ROWS, 1), write_member(tmp_path, "two", ROWS, 2, split="test")
    summary = build_manifest(config_of(tmp_path, one, two, folds={"name": "leave_one_speaker_out"}))
    manifest = read_manifest(tmp_path / "m.parquet")
    assert (summary.num_clips, summary.num_audio, summary.num_speakers) == (6, 6, 4)
    assert summary.corpora == {"one": 3, "two": 3}
    assert summary.splits == {"(none)": 3, "test": 3}
    assert manifest.table["fold"].to_pylist() == [0, 0, 1, 2, 2, 3]
    assert [clip.path for clip in manifest.clips()][3] == str(tmp_path / "two" / "a.wav")
    assert "Clips by corpus" in [table.title for table in summary.tables()]


def test_only_the_bad_row_of_its_member_is_left_out(tmp_path: Path):
    one = write_member(tmp_path, "one", ROWS, 1)
    two = write_member(tmp_path, "two", [*ROWS[:1], "gone.wav,sad,1", *ROWS[2:]], 2)
    with pytest.raises(ManifestError) as caught:
        build_manifest(config_of(tmp_path, one, two))
    first, line = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/one/t.csv, {tmp_path}/two/t.csv: 1 fault; ")
    assert line.startswith("  row 3 of two, clip 'two/gone', path: 'two/gone.wav' no such file")
    build_manifest(config_of(tmp_path, one, two, keep_going=True))
    assert read_manifest(tmp_path / "m.parquet").table["clip_id"].to_pylist() == ["one/a", "one/b", "one/c", "two/a", "two/c"]
    with (tmp_path / "m.faults.csv").open() as file:
        (fault,) = csv.DictReader(file)
    assert (fault["row"], fault["clip_id"], fault["column"]) == ("3 of two", "two/gone", "path")


def test_the_same_media_in_two_members_leak_across_splits(tmp_path: Path):
    one = write_member(tmp_path, "one", ROWS, 1, split="train")
    two = write_member(tmp_path, "two", ROWS, 1, split="test")
    with pytest.raises(ManifestError) as caught:
        build_manifest(config_of(tmp_path, one, two))
    assert (
        "  row 2 of one, clip 'one/a', split: split 'train' shows the same media as row 2 of two (clip 'two/a') in split 'test'; "
        "allowed: one split"
    ) in str(caught.value).splitlines()


def test_a_label_map_of_the_manifest_is_applied_to_the_joined_corpus(tmp_path: Path):
    one, two = write_member(tmp_path, "one", ROWS, 1), write_member(tmp_path, "two", ROWS, 2)
    build_manifest(config_of(tmp_path, one, two, label_map={"to": "emodb"}))
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.table["emotion"].to_pylist() == ["happiness", "sadness", "sadness"] * 2
    assert manifest.facts.label_maps == {"all": {"happy": "happiness", "sad": "sadness"}}


def test_corrections_name_joined_clips(tmp_path: Path):
    one, two = write_member(tmp_path, "one", ROWS, 1), write_member(tmp_path, "two", ROWS, 2)
    (tmp_path / "c.csv").write_text("clip_id,emotion,old_emotion,note\ntwo/a,sad,happy,\none/c,-,sad,\n")
    build_manifest(config_of(tmp_path, one, two, corrections=str(tmp_path / "c.csv")))
    table = read_manifest(tmp_path / "m.parquet").table
    assert dict(zip(table["clip_id"].to_pylist(), table["emotion"].to_pylist(), strict=True)) == {
        "one/a": "happy",
        "one/b": "sad",
        "two/a": "sad",
        "two/b": "sad",
        "two/c": "sad",
    }


def test_the_manifest_may_not_replace_a_members_table(tmp_path: Path):
    one, two = write_member(tmp_path, "one", ROWS, 1), write_member(tmp_path, "two", ROWS, 2)
    with pytest.raises(ConfigError, match=r"out: .*t\.csv is the corpus's own table, which would be lost"):
        config_of(tmp_path, one, two, out=two["corpus"]["path"])


def test_a_job_watches_all_members_and_lists_buckets_anew(tmp_path: Path):
    one, two = write_member(tmp_path, "one", ROWS, 1), write_member(tmp_path, "two", ROWS, 2)
    verb, places = VERBS["manifest"], [member["corpus"]["path"] for member in (one, two)]
    assert verb.reads(config_of(tmp_path, one, two)) == places
    assert ("path", ", ".join(places)) in verb.plan(config_of(tmp_path, one, two))[0].rows
    remote = {"corpus": {"name": "files", "path": "s3://bucket/clips"}}
    assert verb.reads(config_of(tmp_path, one, remote)) is None
