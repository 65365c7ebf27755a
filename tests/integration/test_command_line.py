"""The command line as a user types it: the whole road in small, and what wrong words are answered."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mer_ray.cli import main

JOBS = Path(__file__).resolve().parents[2] / "jobs"


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def mer_ray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Answer]:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return Answer(int(caught.value.code or 0), captured.out, captured.err)

    return call


@pytest.mark.ray
@pytest.mark.slow
def test_the_demo_in_small_and_again(mer_ray: Callable[..., Answer], tmp_path: Path, ray_cluster: None):
    small = [f"steps.{step}.epochs=2" for step in (3, 4, 5, 6)] + [f"steps.{step}.seeds=[0]" for step in (3, 4, 5, 6)]
    words = ["run", str(JOBS / "demo.yaml"), "vars.out=demo", "steps.0.num_clips=60", "steps.0.num_speakers=10", *small]
    words += ["steps.1.folds.num_folds=2", "steps.2.num_actors=2"]
    first = mer_ray(*words)
    assert first.code == 0, first.err
    assert "demo/report.html" in first.out
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert 'id="mer-ray-data"' in page
    for name in ("audio", "vision", "text", "fused"):
        predictions = pq.read_table(tmp_path / "demo" / "runs" / name / "predictions" / "test.parquet")
        assert predictions.num_rows == 60
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path.is_file() and path.name != "report.html"}
    again = mer_ray(*words)
    assert again.code == 0
    assert again.out.count("finished before: skipped") == 1
    assert again.out.count("was complete already; nothing was trained") == 4
    assert "Nothing was left to do." in again.out
    assert {path: path.stat().st_mtime_ns for path in before} == before

    states = mer_ray(*words, "--dry-run").out
    assert states.count("finished, would be skipped") == 1
    assert states.count("finished, unless its data change") == 4
    assert states.count("does what is left") == 2
    assert states.count("is written each time") == 1


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["run"], 2, "run: name a job file"),
        (["run", "absent.yaml"], 2, "absent.yaml: no such config file"),
        (["train", "absent.yaml"], 2, "absent.yaml: no such config file"),
        (["manifest", "corpus.name=emodbb", "out=m.parquet"], 2, "corpus.name: unknown choice 'emodbb'; did you mean 'emodb'?"),
        (["extract", "manifest=m.parquet", "store=s", "encoders=[]"], 2, "encoders: tuple should have at least 1 item"),
        (["extract", "manifest=m.parquet", "store=s", "encoders=[{name: spectral}]"], 1, "m.parquet: no such manifest"),
        (["extract", "manifest=m.parquet", "store=s", "encoders=[{name: spectral}, {name: spectral}]"], 2, "listed twice"),
        (["extract", "manifest=m.parquet", "store=s", "encoders=[{name: spectral}]", "max_failure_rate=2"], 2, "less than or equal to 1"),
        (["manifest", "corpus.name=files", "corpus.path=nowhere", "out=m.parquet"], 1, "nowhere"),
        (["report", "nowhere"], 1, "nowhere"),
        (["encoders", "fetch"], 2, "encoders fetch: name a job file"),
        (["transcribe", "manifest=m.parquet", "weights=x", "out=m.parquet"], 2, "out: m.parquet is the manifest that is read"),
        (["extract", "manifest=m.parquet", "store=s", "encoders=[{name: spectral}]", "--part", "4/3"], 2, "the parts of 3 are 1/3 to 3/3"),
        (["synth", "out=s3://bucket/corpus"], 2, "out: a local path is needed, not the URL"),
        (["synth", "out=/proc/nowhere", "num_clips=1"], 1, "/proc/nowhere"),
        (["schema", "trian"], 2, "no verb 'trian'. Allowed: synth, manifest"),
        (["bench", "everything"], 2, "no group everything. Allowed: demo"),
        (["synth", "out=c", "num_clips=0"], 2, "num_clips: input should be greater than or equal to 1, not 0"),
    ],
)
def test_a_wrong_word_is_answered_with_one_line(mer_ray: Callable[..., Answer], words: list[str], code: int, expected: str):
    answer = mer_ray(*words)
    assert answer.code == code
    assert answer.err.startswith("mer-ray: error: ")
    assert len(answer.err.strip().splitlines()) == 1
    assert expected in answer.err


def test_a_manifest_of_other_columns_is_refused(mer_ray: Callable[..., Answer], tmp_path: Path):
    pq.write_table(pa.table({"file": ["a.wav"]}), tmp_path / "other.parquet")
    answer = mer_ray("extract", "manifest=other.parquet", "store=s", "encoders=[{name: spectral}]")
    assert answer.code == 1
    assert "other.parquet: not a manifest of mer_ray: it lacks columns clip_id" in answer.err
    assert not (tmp_path / "s").exists()


def test_print_config_shows_every_default_and_is_a_config(mer_ray: Callable[..., Answer], tmp_path: Path):
    words = ["manifest=m.parquet", "store=s", "encoders=[{name: spectral}]"]
    shown = mer_ray("extract", *words, "--print-config")
    assert shown.code == 0
    (tmp_path / "extract.yaml").write_text(shown.out)
    assert mer_ray("extract", "extract.yaml", "--print-config").out == shown.out
    assert "max_failure_rate: 0.05" in shown.out


@pytest.mark.slow
def test_a_dry_run_plans_without_ray_and_writes_nothing(mer_ray: Callable[..., Answer], tmp_path: Path, shared_data: Path):
    import ray

    was_running = ray.is_initialized()
    made = mer_ray("manifest", "corpus.name=emodb", f"corpus.path={shared_data / 'emodb'}", "out=m.parquet")
    assert made.code == 0, made.err
    plan = mer_ray("extract", "manifest=m.parquet", "store=s", "encoders=[{name: spectral}]", "--dry-run")
    assert plan.code == 0
    assert "h of media to decode" in plan.out
    assert not (tmp_path / "s").exists()
    assert ray.is_initialized() == was_running


def test_the_schema_of_a_verb_is_json(mer_ray: Callable[..., Answer]):
    schema = json.loads(mer_ray("schema", "train").out)
    assert "manifest" in schema["properties"]


@pytest.mark.slow
def test_the_doctor_says_that_a_named_cluster_does_not_answer():
    # In a process of its own: this one may be connected to the session's Ray.
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-m", "mer_ray.cli", "doctor"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "127.0.0.1:1: nothing answers there" in " ".join(done.stdout.split())


@pytest.mark.ray
@pytest.mark.slow
def test_the_doctor_examines_the_cluster_that_is_named(ray_cluster: None):
    import ray

    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    done = subprocess.run([sys.executable, "-m", "mer_ray.cli", "doctor"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "answers at" in shown
    assert "token, accepted" in shown
    assert "4 CPUs" in shown
    assert "the same as here" in shown


@pytest.mark.ray
@pytest.mark.slow
def test_the_doctor_names_the_token_where_a_cluster_refuses_us(ray_cluster: None):
    import ray

    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    command = [sys.executable, "-m", "mer_ray.cli", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "RAY_AUTH_TOKEN" in done.stdout
