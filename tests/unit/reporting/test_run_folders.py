import json
import shutil
from pathlib import Path

import pytest
from written_run import RunMaker

from mer_ray.core.errors import RunError
from mer_ray.reporting.runs import read_run


def test_reads_what_was_written(make_run: RunMaker) -> None:
    run = read_run(make_run(num_unlabelled=6))
    predictions = run.predictions("test")
    assert run.modalities == ("audio", "vision", "text")
    assert predictions.num_rows == 3 * 60
    assert (predictions.labels_N < 0).sum() == 3 * 6
    assert predictions.attention_names == ("spectral", "gradient", "hashing")
    assert predictions.probabilities_NC.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("lost", ["run.json", "config.yaml"])
def test_a_folder_that_is_no_run_names_what_is_missing(make_run: RunMaker, lost: str) -> None:
    folder = make_run()
    (folder / lost).unlink()
    with pytest.raises(RunError, match=f"not a run folder: it has no {lost}") as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


def test_the_bundle_of_a_run_leads_to_the_run(make_run: RunMaker) -> None:
    run = make_run()
    (run / "bundle").mkdir()
    with pytest.raises(RunError, match=f"it is the bundle of a run: give {run}$"):
        read_run(run / "bundle")
    with pytest.raises(RunError, match=f"it is a part of a run: give {run}$"):
        read_run(run / "predictions")


def test_a_folder_of_runs_names_them(make_run: RunMaker, tmp_path: Path) -> None:
    make_run("a")
    with pytest.raises(RunError, match=f"it holds the run a: give {tmp_path / 'a'}$"):
        read_run(tmp_path)
    make_run("b")
    with pytest.raises(RunError, match=r"it holds the runs a, b: give these$"):
        read_run(tmp_path)
    for number in range(9):
        (tmp_path / f"c{number}").mkdir()
        (tmp_path / f"c{number}" / "run.json").touch()
    with pytest.raises(RunError, match=r"it holds the runs a, b, c0, c1, c2, c3, c4, c5 and 3 more: give these$"):
        read_run(tmp_path)


@pytest.mark.parametrize("lost", ["scores.json", "metrics.jsonl", "predictions/test.parquet"])
def test_an_unfinished_run_says_so(make_run: RunMaker, lost: str) -> None:
    folder = make_run()
    (folder / lost).unlink()
    with pytest.raises(RunError, match=f"unfinished: it has no {lost}"):
        read_run(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", "{", "not valid JSON"),
        ("run.json", "{}", "lacks name, seeds"),
        ("scores.json", '{"splits": {}}', "scores no split"),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo', "a line is not valid JSON"),
    ],
)
def test_damaged_files_are_named(make_run: RunMaker, name: str, text: str, message: str) -> None:
    folder = make_run()
    (folder / name).write_text(text)
    with pytest.raises(RunError, match=f"{name}: .*{message}|{name}: {message}"):
        read_run(folder)


def test_damaged_predictions_are_named(make_run: RunMaker) -> None:
    folder = make_run()
    (folder / "predictions/test.parquet").write_bytes(b"PAR1 no longer")
    with pytest.raises(RunError, match=r"test\.parquet: not a Parquet file"):
        read_run(folder).predictions("test")


def test_predictions_of_another_run_are_refused(make_run: RunMaker) -> None:
    folder, other = make_run(), make_run("no valence", values=())
    shutil.copy(other / "predictions/test.parquet", folder / "predictions/test.parquet")
    with pytest.raises(RunError, match="lacks columns valence, label_valence"):
        read_run(folder).predictions("test")


def test_an_emotion_outside_the_classes_is_refused(make_run: RunMaker) -> None:
    folder = make_run()
    facts = json.loads((folder / "run.json").read_text())
    facts["classes"] = [name for name in facts["classes"] if name != "sad"]
    (folder / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=r"holds sad, which run\.json does not list"):
        read_run(folder).predictions("test")
