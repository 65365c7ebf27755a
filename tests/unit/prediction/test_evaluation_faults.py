from pathlib import Path

import pytest
from challenge_files import guesses, names, truth, write_csv, write_labels, write_submission

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, MerRayError
from mer_ray.prediction.evaluate import evaluate
from mer_ray.prediction.evaluation_config import EvaluateConfig


def fault(folder: Path, predictions: Path, labels: Path | None = None, protocol: str = "mer2023-multi", **options) -> str:
    labels = labels or write_labels(folder / "labels.csv")
    given = {"out": folder / "scores.json", "num_resamples": 2, "num_swaps": 9, **options}
    with pytest.raises(MerRayError) as caught:
        evaluate(EvaluateConfig(predictions=(predictions,), labels=labels, protocol=protocol, **given))
    assert not (folder / "scores.json").exists()
    return str(caught.value)


def changed(folder: Path, change) -> Path:
    """A good submission with its rows changed."""
    rows = [list(row) for row in zip(names(), *guesses(1, 0.7), strict=True)] + [["no_valence", "sad", 1.0]]
    return write_csv(folder / "said.csv", ("name", "discrete", "valence"), change(rows) or rows)


def rename(rows, row, column, value):
    rows[row][column] = value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[2:], "2 of 91 labelled names are not predicted, e.g. 'sample_00000000'; every name of"),
        (lambda rows: [*rows, rows[5], rows[5]], "1 name more than once, e.g. 'sample_00000005' 3 times"),
        (
            lambda rows: rename(rows, 3, 1, "hapy"),
            "1 clip of the unknown emotion 'hapy', e.g. 'sample_00000003'; did you mean 'happy'? Allowed: neutral, angry",
        ),
        (lambda rows: rename(rows, 4, 1, ""), "1 name without an emotion, e.g. 'sample_00000004'; each needs one"),
        (lambda rows: rename(rows, 6, 2, "inf"), "1 labelled name without a finite valence, e.g. 'sample_00000006'"),
        (lambda rows: rename(rows, 6, 2, ""), "1 labelled name without a finite valence, e.g. 'sample_00000006'"),
        # What stands in the challenge's own list of candidates.
        (lambda rows: rename(rows, 6, 2, "-10"), "1 labelled name without a finite valence, e.g. 'sample_00000006'"),
        (lambda rows: rename(rows, 6, 2, "high"), "valence: 1 cell, e.g. 'high' in row 8, cannot be read; allowed: a number"),
        (lambda rows: rename(rows, 0, 0, ""), "name: 1 cell, e.g. '' in row 2, without a name"),
        (lambda rows: rows[7].append("more"), "1 row with too few or too many cells, e.g. row 9"),
        (
            lambda rows: [[f"{row[0]}.mp4", *row[1:]] for row in rows],
            "91 of 91 labelled names are not predicted, e.g. 'sample_00000000'; the names of this file look like 'sample_00000000.mp4'",
        ),
    ],
)
def test_a_wrong_submission_is_one_line_with_count_and_example(tmp_path: Path, change, expected: str):
    message = fault(tmp_path, changed(tmp_path, change))
    assert expected in message
    assert message.startswith(f"{tmp_path / 'said.csv'}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "said.csv: the file is empty"),
        ("name,discrete,valence\n", "said.csv: has a header but no row"),
        ("clip,discrete\nx,sad\n", "said.csv: has no column clip_id or name; its columns: clip, discrete"),
        ("name,clip_id,discrete\nx,x,sad\n", "said.csv: has both columns clip_id and name"),
        ("name,valence\nx,1\n", "said.csv: has no column emotion or discrete"),
        ("name,discrete\nno_valence,sad\n", "said.csv: has no column valence, which is labelled"),
        ("name,discrete,valence,abstained\nx,sad,1,maybe\n", "abstained: 1 cell, e.g. 'maybe' in row 2, neither true nor false"),
    ],
)
def test_a_wrong_file_says_what_it_lacks(tmp_path: Path, text: str, expected: str):
    (tmp_path / "said.csv").write_text(text)
    assert expected in fault(tmp_path, tmp_path / "said.csv")


def test_all_faults_of_all_files_come_at_once(tmp_path: Path):
    wrong = changed(tmp_path, lambda rows: [*rows[1:], ["x", "hapy", 1]])
    other = write_csv(tmp_path / "other.csv", ("name", "discrete", "valence"), [("x", "sad", 1)])
    labels = write_labels(tmp_path / "labels.csv")
    with pytest.raises(MerRayError) as caught:
        evaluate(EvaluateConfig(predictions=(wrong, other), labels=labels, protocol="mer2023-multi", out=tmp_path / "scores.json"))
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(wrong), str(wrong), str(other)]


@pytest.mark.parametrize(
    ("header", "rows", "protocol", "expected"),
    [
        (
            ("name", "discrete"),
            list(zip(names(), truth()[0], strict=True)),
            "mer2023-multi",
            "knows no valence, which mer2023-multi scores",
        ),
        (("name", "valence"), list(zip(names(), truth()[1], strict=True)), "emotion", "has no column emotion or discrete"),
        (("name", "discrete"), [("x", "sad"), ("x", "sad")], "emotion", "1 name more than once"),
        (("name", "discrete"), [("x", "sadd")], "mer2024-semi", "1 clip of the unknown emotion 'sadd', e.g. 'x'; did you mean 'sad'?"),
        (("name", "discrete"), [("x", "")], "emotion", "all labels are unknown; there is nothing to score"),
        (("name", "discrete"), [("x", "sad")], "values", "knows no valence or arousal or dominance"),
        (("name", "arousal"), [("x", "inf")], "values", "1 clip of an infinite arousal, e.g. 'x'"),
    ],
)
def test_wrong_labels_are_told(tmp_path: Path, header, rows, protocol: str, expected: str):
    labels = write_csv(tmp_path / "labels.csv", header, rows)
    assert expected in fault(tmp_path, write_submission(tmp_path / "said.csv"), labels, protocol)


def test_splits_metrics_and_files_that_are_not_there(tmp_path: Path):
    said = write_submission(tmp_path / "said.csv")
    assert "has no split 'test'; it has none" in fault(tmp_path, said, split="test")
    assert "metric: 'uarr' cannot be had" in fault(tmp_path, said, protocol="emotion", metric="uarr")
    train = write_csv(tmp_path / "train.csv", ("name", "discrete"), [("x", "")])
    assert "nope.csv: no such file; correct its name" in fault(tmp_path, tmp_path / "nope.csv")
    assert "train_labels has no emotion of neutral" in fault(tmp_path, said, train_labels=train)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metric": "uar"}, "metric: mer2023-semi sets it itself"),
        ({"predictions": ["a.csv", "a.csv"]}, "predictions: names a.csv twice"),
        ({"protocol": "mer2023"}, "protocol: 'mer2023' is not allowed"),
    ],
)
def test_a_wrong_config_is_told(changes, expected: str):
    data = {"predictions": ["a.csv"], "labels": "l.csv", "protocol": "mer2023-semi", "out": "s.json", **changes}
    with pytest.raises(ConfigError) as caught:
        parse_config(EvaluateConfig, data, "job.yaml")
    assert expected in str(caught.value)
