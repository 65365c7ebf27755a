"""The folder of a corpus: complete when corpus.json is there, taken up where it stopped, never mixed."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import MODALITIES
from mer_ray.corpora.synthetic.config import CLASSES, ModalityConfig, SynthConfig
from mer_ray.corpora.table import TableCorpusConfig
from mer_ray.extraction.synth import synthesise

# Of whole corpora of media, half a second each.
pytestmark = pytest.mark.slow


def _config(out: Path, **knobs: Any) -> SynthConfig:
    small: dict[str, Any] = {
        "num_clips": 8,
        "num_unlabelled": 4,
        "num_speakers": 3,
        "size": 64,
        "duration_s": (1.0, 1.5),
        "num_processes": 1,
    }
    return SynthConfig(out=out, **{**small, **knobs})


def _rows(out: Path) -> list[dict[str, str]]:
    with open(out / "clips.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_corpus_is_made_whole(tmp_path: Path) -> None:
    summary = synthesise(_config(tmp_path))
    assert (summary.num_made, summary.num_kept, summary.num_labelled, summary.num_unlabelled) == (12, 0, 8, 4)
    facts = json.loads((tmp_path / "corpus.json").read_text())
    assert facts["ceilings"] == summary.ceilings and set(facts["ceilings"]) == {*MODALITIES, "fused"}
    assert facts["classes"] == list(CLASSES)
    assert facts["latents_digest"] == summary.latents_digest
    latents = pq.read_table(tmp_path / "latents.parquet").to_pylist()
    rows = _rows(tmp_path)
    assert [row["clip_id"] for row in rows] == [row["clip_id"] for row in latents]
    for row, drawn in zip(rows, latents, strict=True):
        assert (row["split"], row["emotion"]) == (("train", drawn["label"]) if drawn["labelled"] else ("unlabelled", ""))
        assert (row["text"] != "") == drawn["text_present"]
        assert not row["path"] or (tmp_path / row["path"]).is_file()
    (table,) = summary.tables()
    assert [row[0] for row in table.rows] == [*MODALITIES, "fused"]


def test_the_table_corpus_reads_it_without_faults(tmp_path: Path) -> None:
    synthesise(_config(tmp_path, audio=ModalityConfig(missing=0.6), vision=ModalityConfig(missing=0.6)))
    assert any(not row["path"] for row in _rows(tmp_path))
    corpus = TableCorpusConfig(path=str(tmp_path / "clips.csv"), classes=CLASSES, value_ranges={"valence": (-5, 5)}).build()
    scan = corpus.scan()
    assert list(scan.faults) == []
    assert scan.table.num_rows == 12


def test_a_second_start_makes_only_what_is_missing(tmp_path: Path) -> None:
    config = _config(tmp_path, audio=ModalityConfig(missing=0))
    synthesise(config)
    before = {path.name: path.read_bytes() for path in (tmp_path / "clips").iterdir()}
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    for name in sorted(before)[:3]:
        (tmp_path / "clips" / name).unlink()
    (tmp_path / "clips" / min(before)).touch()  # an empty file is no clip
    (tmp_path / "clips" / ".synth_000001.mp4.1.tmp").write_bytes(b"half a clip")
    (tmp_path / "corpus.json").unlink()
    summary = synthesise(config)
    assert (summary.num_made, summary.num_kept) == (3, 9)
    assert "9 were there already" in summary.tables()[0].notes[0]
    assert {path.name: path.read_bytes() for path in (tmp_path / "clips").iterdir()} == before
    kept = sorted(before)[3:]
    assert all((tmp_path / "clips" / name).stat().st_mtime_ns == stamps[name] for name in kept)
    assert (tmp_path / "corpus.json").is_file()


def test_a_finished_corpus_is_left_as_it_is(tmp_path: Path) -> None:
    config = _config(tmp_path)
    synthesise(config)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert synthesise(config).num_made == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_another_config_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    synthesise(_config(tmp_path))
    with pytest.raises(ConfigError, match=r"another config \(seed: 0 there, 9 here\); choose another folder"):
        synthesise(_config(tmp_path, seed=9))
    with pytest.raises(ConfigError, match="features: None there"):
        synthesise(_config(tmp_path, features={"num_folds": None}))


def test_a_folder_of_before_valence_noise_is_one_without(tmp_path: Path) -> None:
    synthesise(_config(tmp_path))
    config_path = tmp_path / "config.yaml"
    config_path.write_text(config_path.read_text().replace("valence_noise: 0.0\n", ""))
    assert "valence_noise" not in config_path.read_text()
    assert synthesise(_config(tmp_path)).num_made == 0
    with pytest.raises(ConfigError, match=r"another config \(valence_noise: 0.0 there, 0.5 here\)"):
        synthesise(_config(tmp_path, valence_noise=0.5))


def test_valence_noise_changes_labels_and_no_clip(tmp_path: Path) -> None:
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    synthesise(_config(clean))
    synthesise(_config(noisy, valence_noise=0.5))
    for one, other in zip(_rows(clean), _rows(noisy), strict=True):
        assert (one["valence"] != other["valence"]) == (one["split"] == "train")
        assert {**one, "valence": ""} == {**other, "valence": ""}
    assert all(path.read_bytes() == (noisy / "clips" / path.name).read_bytes() for path in (clean / "clips").iterdir())
    with pytest.raises(ConfigError, match=r"another config \(valence_noise: 0.5 there, 0.0 here\)"):
        synthesise(_config(noisy))
    facts = [json.loads((out / "corpus.json").read_text()) for out in (clean, noisy)]
    assert facts[0]["ceilings"] == facts[1]["ceilings"] and facts[0]["identity"] != facts[1]["identity"]


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match="is not empty and holds no synthetic corpus"):
        synthesise(_config(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


@pytest.mark.slow
def test_equal_seeds_make_equal_folders(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        synthesise(_config(out))
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file() and path.name != "config.yaml")
    assert names == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file() and path.name != "config.yaml")
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


@pytest.mark.slow
def test_processes_that_outlive_a_run_render_into_the_folder_of_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        synthesise(_config(Path("corpus"), num_clips=24, num_unlabelled=0, num_processes=2))
        paths = [row["path"] for row in _rows(Path("corpus")) if row["path"]]
        assert paths and all((tmp_path / name / "corpus" / path).is_file() for path in paths)
