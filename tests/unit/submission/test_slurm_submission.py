import os
from pathlib import Path

import pytest
import yaml

from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.submission.slurm import resume_overrides, submit_to_slurm
from mer_ray.workflow.job import load_job

SITE = {"cpus_per_node": 2, "memory_gb_per_node": 4, "hours": 1, "logs": "logs"}
SYNTH = {"verb": "synth", "out": "corpus", "num_clips": 12}
EXTRACT = {"verb": "extract", "manifest": "m.parquet", "store": "store", "encoders": [{"name": "spectral"}]}
INPUTS = [{"encoder": "spectral", "layers": ["log_mel"]}]
RATE = {"search": "float", "low": 1e-4, "high": 1e-2}
TUNE = {
    "verb": "tune",
    "out": "search",
    "train": {
        "manifest": "m.parquet",
        "store": "store",
        "inputs": INPUTS,
        "protocol": {"name": "folds", "test_folds": [0]},
        "learning_rate": RATE,
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.parquet").touch()
    return tmp_path


def write(path: str, **content: object) -> Path:
    Path(path).write_text(yaml.safe_dump(content))
    return Path(path)


def fake_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program = folder / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(f"#!/bin/bash\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_the_script_lies_beside_the_logs_and_goes_to_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch):
    fake_sbatch(folder, monkeypatch, 'echo "$@" > sent; echo "17;here"')
    sent = submit_to_slurm(write("job.yaml", steps=[SYNTH]), ["steps.0.num_clips=3"], write("site.yaml", **SITE))
    assert (sent.job_id, sent.script, sent.log) == ("17", folder / "logs" / "job.sbatch", f"{folder}/logs/job-17.log")
    assert (folder / "sent").read_text() == f"--parsable {sent.script}\n"
    assert f"job=(mer-ray run {folder}/job.yaml steps.0.num_clips=3)" in sent.script.read_text()
    assert dict(sent.table().rows)["stop"] == "scancel 17"


def test_it_can_be_written_without_being_sent(folder: Path):
    written = submit_to_slurm(write("job.yaml", steps=[EXTRACT]), [], write("site.yaml", **SITE, array=3), send=False)
    assert written.job_id is None
    assert written.script.is_file()
    assert dict(written.table().rows)["send it"] == f"sbatch {written.script}"


def test_what_slurm_says_against_it_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    fake_sbatch(folder, monkeypatch, "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(
        ClusterError, match=r"job.sbatch: sbatch refuses it \(invalid partition specified: gpu\); mend partition, .* in site.yaml$"
    ):
        submit_to_slurm(write("job.yaml", steps=[SYNTH]), [], write("site.yaml", **SITE))


def test_without_slurm_the_line_says_where_to_go(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ClusterError, match=r"^sbatch: not on this machine; run this on a login node"):
        submit_to_slurm(write("job.yaml", steps=[SYNTH]), [], write("site.yaml", **SITE))


@pytest.mark.parametrize(
    ("steps", "site", "message"),
    [
        ([{**SYNTH, "num_clip": 3}], {}, "num_clip: unknown key"),
        ([SYNTH], {"node": 2}, "node: unknown key"),
        ([{**EXTRACT, "manifest": "other.parquet"}], {}, "job.yaml: extract reads other.parquet, which is not there"),
        ([SYNTH, EXTRACT], {"array": 2}, "whose only step is extract; job.yaml has synth, extract."),
        ([{**EXTRACT, "part": "1/2"}], {"array": 2}, "steps.0.part: array of site.yaml gives each task its part"),
    ],
)
def test_faults_are_found_before_anything_is_written(folder: Path, steps: list[object], site: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        submit_to_slurm(write("job.yaml", steps=steps), [], write("site.yaml", **SITE, **site))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (folder / "logs").exists()


def test_a_search_goes_on_after_the_job_was_queued_again(folder: Path):
    again = {**TUNE, "out": "other", "resume": True}
    job = write("job.yaml", steps=[SYNTH, TUNE, again])
    assert resume_overrides(load_job(job, []), job, []) == ["steps.1.resume=true"]
    written = submit_to_slurm(job, [], write("site.yaml", **SITE), send=False)
    assert "resume=(steps.1.resume=true)" in written.script.read_text()


def test_a_search_out_of_reach_must_resume_by_itself(folder: Path):
    write("inner.yaml", steps=[TUNE])
    job = write("job.yaml", steps=[{"verb": "run", "job": "inner.yaml"}, SYNTH])
    with pytest.raises(
        ConfigError, match=r"job.yaml: a tune step of a job .* set resume: true there, or max_requeues: 0 in the site file$"
    ):
        submit_to_slurm(job, [], write("site.yaml", **SITE), send=False)
    assert submit_to_slurm(job, [], write("once.yaml", **SITE, max_requeues=0), send=False).script.is_file()
