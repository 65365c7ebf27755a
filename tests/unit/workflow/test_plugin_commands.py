"""Plug-ins on the command line and in jobs: the doctor's answers, permission before anything, `encoders fetch`."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from corpus_cases import make_sounds

from mer_ray.cli import main
from mer_ray.encoders import encoder_identity
from mer_ray.workflow.fetching import fetch_job
from mer_ray.workflow.job import load_job
from mer_ray.workflow.runner import is_finished, run_job

PLUGINS = Path(__file__).parents[2] / "plugins"
Answer = tuple[int, str, str]


@pytest.fixture
def mer_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Answer]:
    """Run a command in a folder that holds the samples, each of its own content."""
    monkeypatch.chdir(tmp_path)
    for sample in PLUGINS.glob("*.py"):
        (tmp_path / sample.name).write_text(f"{sample.read_text()}\n# {tmp_path}\n")

    def call(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return call


def test_the_doctor_runs_the_file_shows_every_promise_and_exits_by_it(mer_ray: Callable[..., Answer], tmp_path: Path):
    code, out, err = mer_ray("doctor", "--plugin", "loudness_encoder.py", "floor_db=-60")
    assert code == 0 and "a clip is the same alone and in a batch" in out and "keeps its contract" in out
    assert "warning: runs the Python code of loudness_encoder.py (sha256 " in err
    file = tmp_path / "loudness_encoder.py"
    file.write_text(file.read_text().replace('"change": 2}', '"change": 3}'))
    code, out, err = mer_ray("doctor", "--plugin", "loudness_encoder.py")
    assert code == 1 and "BROKEN" in out and "promises. In a config" in out
    code, out, err = mer_ray("doctor", "floor_db=-60")
    assert code == 2 and "belong to --plugin FILE" in err


EXTRACT = ["manifest=m.parquet", "store=s", "encoders=[{name: plugin, file: loudness_encoder.py, class: LoudnessConfig}]"]
CORPUS = ["corpus={name: plugin, file: lab_corpus.py, class: LabConfig, config: {path: sounds}}", "out=m.parquet"]


@pytest.mark.parametrize(("verb", "words", "place"), [("extract", EXTRACT, "encoders.0"), ("manifest", CORPUS, "corpus")])
@pytest.mark.parametrize("flag", ["--print-config", "--dry-run"])
def test_permission_is_asked_by_every_way_in(mer_ray: Callable[..., Answer], verb: str, words: list[str], place: str, flag: str):
    code, _, err = mer_ray(verb, *words, flag)
    assert code == 2
    assert f"{place}: runs code of {words[-1 if verb == 'extract' else 0].split('file: ')[1].split(',')[0]}: set allow_plugins: true" in err
    assert "warning" not in err


def test_the_config_is_shown_complete(mer_ray: Callable[..., Answer]):
    code, out, _ = mer_ray("extract", *EXTRACT, "allow_plugins=true", "encoders.0.sequences=[level]", "--print-config")
    shown = yaml.safe_load(out)["encoders"][0]
    assert code == 0
    assert shown["config"] == {"name": "loudness", "floor_db": -80.0}
    assert (shown["sequences"], shown["dtype"], len(shown["sha256"])) == (["level"], "float16", 64)


def test_schemas_of_plug_ins_name_the_keys(mer_ray: Callable[..., Answer]):
    code, out, _ = mer_ray("schema", "train")
    schema = yaml.safe_load(out)
    assert code == 0 and {"name", "file", "class", "sha256", "config"} == set(schema["$defs"]["PluginModelConfig"]["properties"])
    assert schema["properties"]["allow_plugins"]["default"] is False


def test_what_stands_beside_the_file_is_refused_in_config(mer_ray: Callable[..., Answer]):
    code, _, err = mer_ray("extract", *EXTRACT, "allow_plugins=true", "encoders.0.config.dtype=float32")
    assert code == 2 and "encoders.0: config.dtype: stands beside `file`" in err
    code, _, err = mer_ray("extract", *EXTRACT, "allow_plugins=true", "encoders.0.config.name=my encoder")
    assert code == 2 and "encoders.0: config.name: 'my encoder' cannot name a folder of the store" in err


def test_a_job_runs_a_corpus_and_again_only_when_its_code_changed(mer_ray: Callable[..., Answer], tmp_path: Path):
    make_sounds(tmp_path / "sounds")
    corpus = {"name": "plugin", "file": "lab_corpus.py", "class": "LabConfig", "config": {"path": "sounds"}}
    step = {"verb": "manifest", "corpus": corpus, "out": "m.parquet", "allow_plugins": True}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"steps": [step]}))
    job = load_job(Path("job.yaml"), [])
    run_job(job, announce=lambda text: None, show=lambda result: None)
    assert is_finished(job.steps[0].verb, job.steps[0].config)
    (tmp_path / "lab_corpus.py").write_text((tmp_path / "lab_corpus.py").read_text() + "# changed\n")
    again = load_job(Path("job.yaml"), [])
    assert not is_finished(again.steps[0].verb, again.steps[0].config)


def test_fetch_copies_the_file_and_keeps_the_identity(mer_ray: Callable[..., Answer], tmp_path: Path):
    encoder = {"name": "plugin", "file": "loudness_encoder.py", "class": "LoudnessConfig", "dtype": "float32"}
    step = {"verb": "extract", "manifest": "m.parquet", "store": "s", "encoders": [encoder], "allow_plugins": True}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"steps": [step]}))
    summary = fetch_job(Path("job.yaml"), [], tmp_path / "fetched")
    before, after = (load_job(path, []).steps[0].config.encoders[0] for path in (Path("job.yaml"), summary.job))
    assert tmp_path / "fetched" in after.file.parents and after.file.read_bytes() == before.file.read_bytes()
    assert encoder_identity(after) == encoder_identity(before)
