"""Jobs that are refused before anybody is asked: the cluster's port is open, and nothing may knock."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mer_ray import cli


@pytest.fixture
def untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address to which no connection was made in the end."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["mer-ray", "submit", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps:\n  - {verb: trian, out: /mnt/x}\n", "job.yaml: steps.0.verb: 'trian' is not allowed"),
        ("vars: {out: /mnt}\n", "job.yaml: steps:"),
        ("vars: {a: '${b}', b: '${a}'}\nsteps:\n  - {verb: synth, out: '${a}'}\n", "job.yaml: vars.a: refers to itself: a -> b -> a"),
        ("steps:\n  - {verb: synth, out: ../elsewhere}\n", "step 1 (synth): out: ../elsewhere: a place of this machine"),
        ("steps:\n  - {verb: run, job: missing.yaml}\n", "job.yaml: steps.0.job: missing.yaml: no such job file"),
    ],
    ids=["unknown verb", "no step", "cycle in variables", "path outside", "missing job"],
)
def test_a_bad_job_file_is_one_line_and_nothing_is_sent(text, said, untouched, tmp_path, capsys, monkeypatch):
    (tmp_path / "job.yaml").write_text(text)

    (line,) = refused(capsys, monkeypatch, "job.yaml", "--address", untouched, "--shared", "/mnt")

    assert said in line


def test_a_job_file_of_100_mb_is_not_sent(untouched, tmp_path, capsys, monkeypatch):
    with (tmp_path / "job.yaml").open("w") as file:
        file.write("steps:\n  - {verb: synth, out: /mnt/x}\n")
    with (tmp_path / "values.yaml").open("w") as file:
        file.write("a: 1\n")
        file.writelines(f"# {'x' * 1_000_000}\n" for _ in range(100))
    (tmp_path / "job.yaml").write_text("vars_from: [values.yaml]\nsteps:\n  - {verb: synth, out: /mnt/x}\n")

    (line,) = refused(capsys, monkeypatch, "job.yaml", "--address", untouched, "--shared", "/mnt")

    assert "MB to send, 52 MB are allowed; the largest file is" in line and "values.yaml" in line


def test_a_job_file_in_another_folder_is_not_sent(untouched, tmp_path, capsys, monkeypatch):
    (tmp_path / "job.yaml").write_text("steps:\n  - {verb: synth, out: /mnt/x}\n")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")

    (line,) = refused(capsys, monkeypatch, "../job.yaml", "--address", untouched, "--shared", "/mnt")

    assert "../job.yaml: lies outside" in line


def test_the_whole_file_system_is_not_shared(untouched, tmp_path, capsys, monkeypatch):
    (tmp_path / "job.yaml").write_text("steps:\n  - {verb: synth, out: /mnt/x}\n")

    (line,) = refused(capsys, monkeypatch, "job.yaml", "--address", untouched, "--shared", "/")

    assert "--shared /: the whole file system is not shared" in line
