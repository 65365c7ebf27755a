import random
import wave
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.extraction.manifest import ManifestConfig, build_manifest


def put_sound(url: str, seconds: float, seed: int) -> None:
    with fsspec.open(url, "wb") as remote, wave.open(remote, "wb") as file:
        file.setparams((1, 2, 8000, int(8000 * seconds), "NONE", ""))
        file.writeframes(random.Random(seed).randbytes(2 * int(8000 * seconds)))


def config_of(out: Path, corpus: dict[str, Any], **options: Any) -> ManifestConfig:
    return parse_config(ManifestConfig, {"corpus": corpus, "out": str(out), **options}, "manifest")


def test_a_prefix_becomes_unlabelled_clips(s3_bucket: str, tmp_path: Path):
    put_sound(f"{s3_bucket}/raw/ä b.wav", 1.5, seed=1)
    put_sound(f"{s3_bucket}/raw/x/y.wav", 0.5, seed=2)
    put_sound(f"{s3_bucket}/elsewhere/z.wav", 0.5, seed=3)
    fsspec.filesystem("s3").pipe(f"{s3_bucket}/raw/notes.txt", b"no clip")
    summary = build_manifest(config_of(tmp_path / "m.parquet", {"name": "files", "path": f"{s3_bucket}/raw/"}))
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.table["clip_id"].to_pylist() == ["x/y", "ä b"]
    assert manifest.table["duration_s"].to_pylist() == pytest.approx([0.5, 1.5])
    assert manifest.table["num_bytes"].to_pylist() == [44 + 8000, 44 + 24000]
    assert [clip.path for clip in manifest.clips()] == [f"{s3_bucket}/raw/x/y.wav", f"{s3_bucket}/raw/ä b.wav"]
    assert (manifest.facts.corpus, summary.splits, summary.num_audio) == ("raw", {"unlabelled": 2}, 2)


def test_a_table_on_s3_is_validated_like_a_local_one(s3_bucket: str, tmp_path: Path):
    put_sound(f"{s3_bucket}/c/good.wav", 1.0, seed=1)
    put_sound(f"{s3_bucket}/c/twin.wav", 2.0, seed=2)
    put_sound(f"{s3_bucket}/c/copy.wav", 2.0, seed=2)
    put_sound(f"{s3_bucket}/secret.wav", 1.0, seed=3)
    files = fsspec.filesystem("s3")
    files.pipe(f"{s3_bucket}/c/broken.wav", b"no sound")
    rows = ["good.wav,train", "twin.wav,train", "copy.wav,test", "gone.wav,train", "broken.wav,train", "../secret.wav,train"]
    rows += [f"{s3_bucket}/secret.wav,train", f"{s3_bucket}/c/good.wav,train"]
    table = [f"c{index},{row}" for index, row in enumerate(rows)]
    files.pipe(f"{s3_bucket}/c/clips.csv", "\n".join(["clip_id,path,split", *table, ""]).encode())
    corpus = {"name": "table", "path": f"{s3_bucket}/c/clips.csv"}
    with pytest.raises(ManifestError) as caught:
        build_manifest(config_of(tmp_path / "m.parquet", corpus))
    lines = str(caught.value).splitlines()
    assert [line.partition(", clip")[0] for line in lines[1:]] == ["  row 3", "  row 4", "  row 5", "  row 6", "  row 7", "  row 8"]
    for line, what in zip(
        lines[1:], ["same media as row 4", "same media as row 3", "'gone.wav' no such object", "broken.wav", "holds '..'", "a URL outside"],
        strict=True,
    ):  # fmt: skip
        assert what in line
    assert list(tmp_path.iterdir()) == []
    summary = build_manifest(config_of(tmp_path / "m.parquet", corpus, keep_going=True))
    assert read_manifest(tmp_path / "m.parquet").table["path"].to_pylist() == ["good.wav", "good.wav"]
    assert (summary.num_faults, summary.num_repeated) == (6, 1)


def test_the_speech_corpus_may_lie_on_s3(s3_bucket: str, tmp_path: Path):
    for seed, name in enumerate(("03a01Fa", "03a02Wb", "08a01Na")):
        put_sound(f"{s3_bucket}/emodb/wav/{name}.wav", 0.5 + seed / 10, seed)
    folds = {"name": "leave_one_speaker_out"}
    summary = build_manifest(config_of(tmp_path / "m.parquet", {"name": "emodb", "path": f"{s3_bucket}/emodb"}, folds=folds))
    assert (summary.num_clips, summary.folds) == (3, {0: 2, 1: 1})


def test_an_empty_prefix_is_a_clear_error(s3_bucket: str, tmp_path: Path):
    with pytest.raises(ManifestError, match="no such prefix, or nothing below it"):
        build_manifest(config_of(tmp_path / "m.parquet", {"name": "files", "path": f"{s3_bucket}/none"}))
    with pytest.raises(ManifestError, match="no such table"):
        build_manifest(config_of(tmp_path / "m.parquet", {"name": "table", "path": f"{s3_bucket}/none.csv"}))
