"""The README's Python: its snippet is executed as it stands."""

import os
import shutil

import pytest
from snippets import blocks_of
from trained_media import TrainedMedia, make_trained_media

import mer_ray
from mer_ray.core.errors import ConfigError, StoreError

pytestmark = [pytest.mark.ray, pytest.mark.slow]
JOB = """
vars: {epochs: 3}
steps:
  - verb: manifest
    corpus: {name: table, path: corpus/clips.csv, corpus_name: synthetic}
    folds: {name: leave_one_speaker_out}
    out: work/manifest.parquet
  - verb: train
    manifest: work/manifest.parquet
    store: work/store
    out: work/runs/fused
    inputs: [{encoder: spectral, layers: [energy]}, {encoder: hashing}]
    epochs: ${epochs}
"""


@pytest.fixture(scope="module")
def media(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> TrainedMedia:
    return make_trained_media(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def work(media, tmp_path, monkeypatch):
    """A folder as the README's reader has it: `work/` with job and store, `clips/` with two files."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(media.folder / "corpus", tmp_path / "corpus")
    shutil.copytree(media.store, tmp_path / "work" / "store")
    (tmp_path / "work" / "job.yaml").write_text(JOB)
    (tmp_path / "clips").mkdir()
    for clip, name in zip(media.clips, ("a.mp4", "b.mp4"), strict=False):
        shutil.copyfile(clip, tmp_path / "clips" / name)
    return tmp_path


def test_the_snippet_of_the_readme(work, capsys):
    (block,) = blocks_of("README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "fused (synthetic)" in printed
    assert "work/runs/fused/bundle" in block and (work / "work" / "runs" / "fused" / "bundle" / "bundle.json").is_file()
    lines = printed.splitlines()
    assert any(line.startswith("a ") for line in lines) and any(line.startswith("b ") for line in lines)


def test_run_gives_tables_and_takes_overrides(work):
    tables = mer_ray.run("work/job.yaml", {"vars.epochs": 1, "steps.1.out": os.fspath(work / "elsewhere")})
    assert [table.title.partition(":")[0] for table in tables][-1] == "elsewhere (synthetic)"
    assert (work / "elsewhere" / "scores.json").is_file()
    with pytest.raises(ConfigError, match=r"vars\.epoch: unknown variable; did you mean 'epochs'"):
        mer_ray.run("work/job.yaml", {"vars.epoch": 1})


def test_a_store_is_asked_by_name(work):
    store = mer_ray.open_store("work/store")
    assert store.corpora == ["synthetic"]
    assert [record.name for record in store.encoders()] == ["gradient", "hashing", "spectral"]
    features = store.read("spectral", layers=["pitch"], clip_ids=["synth_000001"])
    assert list(features.columns) == ["mean_pitch", "std_pitch"] and features.clip_ids == ("synth_000001",)
    with pytest.raises(StoreError, match="has no corpus 'other'; allowed: synthetic"):
        store.read("spectral", corpus="other")
    with pytest.raises(StoreError, match="empty: holds no features; give the folder"):
        mer_ray.open_store(work / "empty").read("spectral")
