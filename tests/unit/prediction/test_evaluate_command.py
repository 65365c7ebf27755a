"""From files on disk to scores, through the command line and through a job."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from challenge_files import write_labels, write_submission

from mer_ray.cli import main


def test_the_command_prints_and_writes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    write_labels(tmp_path / "labels.csv")
    write_submission(tmp_path / "a.csv")
    from_flags = ["evaluate", "a.csv", "--labels", "labels.csv", "--protocol", "mer2023-semi", "--train-labels", "labels.csv"]

    def call(words: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
        return capsys.readouterr().out

    printed = call(from_flags)
    assert {path.name for path in tmp_path.iterdir()} == {"labels.csv", "a.csv"} and "scores:" not in printed
    out = call([*from_flags, "-o", "scores.json"])
    assert out.startswith(printed) and out.endswith("scores: scores.json\n")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert f"{scores['files'][0]['official']:.4f}" in out
    assert "Class balance" in out and "train labels" in out

    assert call([*from_flags, "out=again.json"]).endswith("scores: again.json\n")
    (tmp_path / "e.yaml").write_text("{predictions: [a.csv], labels: labels.csv, protocol: mer2023-semi, train_labels: labels.csv}")
    assert call(["evaluate", "e.yaml"]) == printed

    monkeypatch.setattr(sys, "argv", ["mer-ray", *from_flags[:-1], "absent.csv"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "mer-ray: error: absent.csv: no such file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_job_step_leaves_a_file_and_is_skipped_until_something_changes(tmp_path: Path) -> None:
    from mer_ray.workflow.job import load_job
    from mer_ray.workflow.runner import StepResult, run_job

    write_labels(tmp_path / "labels.csv")
    write_submission(tmp_path / "a.csv")
    step = {"verb": "evaluate", "predictions": ["${out}/a.csv"], "labels": "${out}/labels.csv", "protocol": "mer2023-multi"}
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump({"vars": {"out": str(tmp_path)}, "steps": [{**step, "out": "${out}/scores.json"}]}))

    def run() -> StepResult:
        (result,) = run_job(load_job(job, []), announce=lambda line: None, show=lambda result: None)
        return result

    assert not run().skipped
    before = json.loads((tmp_path / "scores.json").read_text())
    assert run().skipped
    write_submission(tmp_path / "a.csv", seed=5)
    assert not run().skipped
    assert json.loads((tmp_path / "scores.json").read_text())["files"] != before["files"]
