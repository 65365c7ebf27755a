"""`mer-ray evaluate --noise`: real media, degraded on Ray through the store."""

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from clear_voices import BLUR, NUM_CLIPS, ClearVoices, make_clear_voices
from snippets import blocks_of

from mer_ray.cli import main
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import Manifest, read_manifest, write_manifest
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.robustness import evaluate_robustness

FEW = 12

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def voices(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> ClearVoices:
    return make_clear_voices(tmp_path_factory.mktemp("voices") / "work")


def parts_of(store: str) -> dict[str, int]:
    """The features' files with their times: what an extraction adds, or writes again."""
    return {str(path): path.stat().st_mtime_ns for path in Path(store).rglob("features/**/*.parquet")}


def of_condition(table, name: str) -> dict[str, dict]:
    return {row["clip_id"]: row for row in table.to_pylist() if row["condition"] == name}


def test_the_readmes_commands_and_nothing_is_encoded_twice(voices, tmp_path, monkeypatch, capsys):
    """A model that listens loses with noise; one that was trained with noise is a run like any other."""
    monkeypatch.chdir(voices.folder.parent)

    def call(command: str) -> str:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    lines = [line for block in blocks_of("README.md", "") for line in block.splitlines() if line.startswith("mer-ray ")]
    evaluate, extract, train = (line for line in lines if "noise" in line)
    before = parts_of(voices.store)
    printed = call(evaluate)
    after = parts_of(voices.store)
    made = {Path(path).parent.name for path in after.keys() - before.keys()}
    assert len(made) == 3 and all(key.startswith("spectral@") for key in made), "pictures are not encoded again for noise"
    assert {path: after[path] for path in before} == before
    facts = json.loads((voices.folder / "robustness.json").read_text())
    clean, mild, equal, loud = (one["official"] for one in facts["conditions"])
    assert clean > 0.9 and clean >= mild >= equal >= loud and loud < clean - 0.5
    # All six speakers lose.
    assert facts["conditions"][3]["difference"]["p_value"] == pytest.approx(2 / 2**6) and facts["num_held_out"] == NUM_CLIPS
    assert f"{loud:.3f}" in printed and "<h1>Robustness of audio</h1>" in (voices.folder / "robustness.html").read_text()
    table = pq.read_table(voices.folder / "robustness.parquet")
    assert {row["snr_db"] for row in of_condition(table, "noise -20 dB").values()} == {-20.0}
    assert {row["snr_db"] for row in of_condition(table, "clean").values()} == {None}

    assert call(evaluate) == printed
    assert parts_of(voices.store) == after and pq.read_table(voices.folder / "robustness.parquet").equals(table)

    call(extract)
    call(train)
    assert "in each epoch a training clip has its clean features" in (voices.folder / "runs" / "hardened" / "run.json").read_text()


def test_a_step_of_a_job_degrades_pictures_alone_and_is_skipped_when_done(voices, tmp_path):
    from mer_ray.workflow.job import load_job
    from mer_ray.workflow.runner import run_job

    noise = {"bundle": "${work}/runs/guided/bundle", "snr_db": [], "blur": [8], "without": ["audio"], "num_actors": 2}
    step = {"verb": "evaluate", "labels": "${out}/few.parquet", "protocol": "emotion", "noise": noise, "out": "${out}/r.json"}
    write_manifest(few_clips(voices), tmp_path / "few.parquet")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"vars": {"work": str(voices.folder), "out": str(tmp_path)}, "steps": [step]}))
    job = load_job(tmp_path / "job.yaml", [])
    (first,) = run_job(job, announce=lambda line: None, show=lambda result: None)
    assert [row[0] for row in first.tables[0].rows] == ["clean", "blur 8", "without audio"] and not first.skipped
    made = sorted(path.name for path in tmp_path.glob("*r.*"))
    assert made == [".r.json.evaluate.done.json", "r.html", "r.json", "r.parquet"]
    table = pq.read_table(tmp_path / "r.parquet")
    clean, blurred, deaf = (of_condition(table, name) for name in ("clean", "blur 8", "without audio"))
    assert {row["model_guide_gate"] for row in deaf.values()} == {0.0}
    assert all(0 < row["model_guide_gate"] < 1 for row in clean.values())
    assert any(blurred[clip_id]["prob_angry"] != row["prob_angry"] for clip_id, row in clean.items())
    (again,) = run_job(job, announce=lambda line: None, show=lambda result: None)
    assert again.skipped


def test_blur_leaves_what_a_model_hears_as_it_is(voices, tmp_path):
    """And the blurred copies that `extract` made are found."""
    from mer_ray.prediction.bundle import load_bundle
    from mer_ray.prediction.condition_features import ConditionSource
    from mer_ray.prediction.noise_conditions import conditions_of
    from mer_ray.prediction.noise_config import NoiseConfig
    from mer_ray.prediction.wanted_clips import clips_of_manifest

    bundle = load_bundle(voices.bundle("guided"), "cpu")
    config = NoiseConfig(bundle=voices.bundle("guided"), store=voices.store, snr_db=(), blur=(BLUR,), without=(), num_actors=2)
    clean, blurred = conditions_of(config, {"audio", "vision"})
    wanted = clips_of_manifest(voices.manifest, None, None)
    before = parts_of(voices.store)
    source = ConditionSource(config, tmp_path / "work", bundle, wanted, [clean, blurred])
    seen, soft = source.read(clean), source.read(blurred)
    assert parts_of(voices.store) == before
    (gradient,) = soft.copies
    (spectral,) = set(seen.by_key) - {gradient}
    assert soft.by_key[spectral] is seen.by_key[spectral]
    column = "mean_hog_middle"
    assert np.abs(soft.by_key[gradient].columns[column] - seen.by_key[gradient].columns[column]).max() > 0.01


def few_clips(voices: ClearVoices) -> Manifest:
    manifest = read_manifest(voices.manifest)
    return replace(manifest, table=manifest.table.slice(0, FEW))


def config_of(voices: ClearVoices, manifest: Path, tmp_path: Path, snr_db: float) -> EvaluateConfig:
    noise = {"bundle": voices.bundle("audio"), "store": str(tmp_path / "store"), "snr_db": [snr_db], "num_actors": 2}
    return EvaluateConfig.model_validate({"labels": manifest, "protocol": "emotion", "out": tmp_path / "r.json", "noise": noise})


def test_media_that_are_not_there_are_one_line(voices, tmp_path):
    shutil.copytree(voices.store, tmp_path / "store")
    manifest = few_clips(voices)
    write_manifest(replace(manifest, facts=replace(manifest.facts, root=str(tmp_path / "media"))), tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match=rf"^{tmp_path}/m\.parquet: none of its {FEW} media files is there"):
        evaluate_robustness(config_of(voices, tmp_path / "m.parquet", tmp_path, 4))


def test_recordings_that_are_not_there_are_one_line(voices, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    for folder, expected in (("absent", "no such folder; give one, or speech_like"), ("empty", "holds no sound file; allowed: .wav")):
        words = ["evaluate", "--noise", str(voices.bundle("audio")), "--labels", str(voices.manifest), "--protocol", "emotion"]
        words += ["--store", voices.store, "-o", str(tmp_path / "r.json"), f"noise.source={tmp_path / folder}"]
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        error = capsys.readouterr().err
        assert caught.value.code == 2 and error.count("\n") == 1 and f"noise: {tmp_path / folder}: {expected}" in error
