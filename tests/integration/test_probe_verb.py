"""The verb `probe` as a user types it, on planted features."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from mer_ray.cli import main
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.synth import synthesise
from mer_ray.probing.config import ProbeConfig
from mer_ray.probing.probe import probe
from mer_ray.workflow.job import load_job
from mer_ray.workflow.runner import run_job, state_of

PEAKS = {"audio": 2, "vision": 1, "text": 3}
FEATURES = {"num_layers": 4, "dim": 16, "peak_layers": PEAKS, "width": 0.5}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with a planted corpus in `work`."""
    monkeypatch.chdir(tmp_path)
    synthesise(SynthConfig.model_validate({"out": "work", "num_clips": 240, "num_speakers": 20, "features": FEATURES}))
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


def test_store_to_ranking_to_training(folder, call):
    code, out, _ = call("probe", "work/store", "--manifest", "work/manifest.parquet", "--dry-run")
    assert code == 0 and "240 labelled, in 5 folds of the manifest" in out and not (folder / "probe").exists()
    code, out, _ = call("probe", "work/store", "--manifest", "work/manifest.parquet", "--top", "3", "per=modality")
    assert code == 0 and "Which layer?" in out and "mer-ray train probe/train.yaml" in out
    assert {path.name for path in (folder / "probe").iterdir()} == {"config.yaml", "probe.json", "ranking.csv", "report.html", "train.yaml"}
    best: dict[str, str] = {}
    for one in json.loads((folder / "probe" / "probe.json").read_text())["entries"]:
        best.setdefault(one["modality"], one["layer"])
    assert best == {modality: f"layer_{peak:02d}" for modality, peak in PEAKS.items()}
    inputs = yaml.safe_load((folder / "probe" / "train.yaml").read_text())["inputs"]
    assert {one["encoder"]: len(one["layers"]) for one in inputs} == {f"planted_{modality}": 3 for modality in PEAKS}
    code, out, err = call("train", "probe/train.yaml", "epochs=1", "model.name=attention", "model.hidden=8", "device=cpu")
    assert code == 0 and (folder / "probe" / "run" / "scores.json").is_file(), err


def test_a_job_skips_a_probe_whose_store_did_not_change(folder):
    (folder / "job.yaml").write_text(
        "steps:\n- {verb: probe, manifest: work/manifest.parquet, store: work/store, out: work/probe, poolings: [mean]}\n"
    )
    job = load_job(Path("job.yaml"), [])
    skipped = [run_job(job, announce=lambda text: None, show=lambda result: None)[0].skipped for _ in range(2)]
    assert skipped == [False, True]
    step = job.steps[0]
    assert state_of(step.verb, step.config) == "finished, would be skipped"
    (folder / "work" / "probe" / "train.yaml").unlink()
    assert state_of(step.verb, step.config) == "to do"


def test_faults_are_one_line(folder, call):
    code, _, err = call("probe", "work/store", "--manifest", "nowhere.parquet")
    assert code == 1 and err.count("\n") == 1 and "no such manifest" in err
    code, _, err = call("probe", "work/store", "--manifest", "work/manifest.parquet", "--metric", "f1")
    assert code == 2 and err.count("\n") == 1 and "allowed: weighted_f1" in err


@pytest.mark.slow
def test_the_planted_layers_are_on_top_in_at_least_four_of_five_seeds(tmp_path):
    """As `mer-ray synth --features` plants them by default: 360 clips, 8 layers of 64 numbers per modality."""
    num_on_top = 0
    for seed in range(5):
        out = tmp_path / str(seed)
        config = SynthConfig.model_validate({"out": out, "seed": seed, "features": {}})
        synthesise(config)
        assert config.features is not None
        base = {"manifest": out / "manifest.parquet", "store": str(out / "store"), "out": out / "probe", "num_resamples": 100}
        entries = probe(ProbeConfig.model_validate(base)).facts["entries"]
        first_layers = list(dict.fromkeys((one["modality"], one["number"]) for one in entries))[:3]
        num_on_top += set(first_layers) == set(config.features.peak_layers.items())
    assert num_on_top >= 4
