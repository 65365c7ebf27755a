import csv

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mer_ray.cli import app
from mer_ray.core.errors import ConfigError, PredictionError
from mer_ray.prediction.vote_files import VoteConfig, vote

HEADER = "clip_id,emotion,prob_angry,prob_happy,valence\n"


@pytest.fixture
def files(tmp_path):
    rows = {
        "one": "c1,angry,0.6,0.4,-1\nc2,happy,0.1,0.9,2\n",
        "two": "c2,happy,0.2,0.8,1\nc1,angry,0.7,0.3,-2\n",
        "three": "c1,happy,0.0,1.0,0\nc2,happy,0.3,0.7,3\n",
    }
    for name, text in rows.items():
        (tmp_path / f"{name}.csv").write_text(HEADER + text)
    return [tmp_path / f"{name}.csv" for name in rows]


def read(path):
    return {row["clip_id"]: row for row in pq.read_table(path).to_pylist()}


def test_files_vote_by_clip_whatever_their_order(files, tmp_path):
    out = tmp_path / "vote.parquet"
    (table,) = vote(VoteConfig(predictions=files, rule={"name": "majority"}, out=out))
    rows = read(out)
    assert list(rows) == ["c1", "c2"]
    assert (rows["c1"]["emotion"], rows["c2"]["emotion"]) == ("angry", "happy")
    assert rows["c1"]["prob_happy"] == pytest.approx(1.7 / 3)
    assert rows["c1"]["confidence"] == pytest.approx(1.3 / 3)
    assert rows["c1"]["valence"] == pytest.approx(-1.0)
    assert table.notes[0] == "1 of 2 clips: all 3 voters agree with the vote"


def test_the_command_names_rule_and_file(files, tmp_path):
    out = tmp_path / "vote.csv"
    words = [*map(str, files), "--rule", "weighted", "rule.weights={three: 9}", "-o", str(out)]
    result = CliRunner().invoke(app, ["vote", *words])
    assert result.exit_code == 0, result.output
    with out.open() as file:
        assert [row["emotion"] for row in csv.DictReader(file)] == ["happy", "happy"]


def test_a_challenges_file_has_its_columns_and_its_names(files, tmp_path):
    (tmp_path / "names.csv").write_text("name\nc2\nc1\n")
    out = tmp_path / "submission.csv"
    vote(VoteConfig(predictions=files, candidates=tmp_path / "names.csv", format="mer2023", out=out))
    assert out.read_text() == "name,discrete,valence\nc2,happy,2\nc1,happy,-1\n"


def test_seeds_of_a_run_are_voters_of_one_name(tmp_path):
    (tmp_path / "run.csv").write_text("clip_id,seed,emotion,prob_a,prob_b\nc1,0,a,0.9,0.1\nc1,1,b,0.4,0.6\n")
    (tmp_path / "other.csv").write_text("clip_id,emotion,prob_a,prob_b\nc1,b,0.45,0.55\n")
    out = tmp_path / "vote.parquet"
    vote(VoteConfig(predictions=[tmp_path / "run.csv", tmp_path / "other.csv"], rule={"name": "majority"}, out=out))
    assert read(out)["c1"]["emotion"] == "b"


def test_the_prior_of_the_clips_moves_the_vote(tmp_path):
    """Ten clips, of which seven look like a at equal priors, from a training of nine a and one b: a's share falls, b's rises."""
    rows = [f"c{number},{'a' if number < 7 else 'b'},{0.95 if number < 7 else 0.4},{0.05 if number < 7 else 0.6}" for number in range(10)]
    (tmp_path / "run.csv").write_text("\n".join(["clip_id,emotion,prob_a,prob_b", *rows]))
    (tmp_path / "train.csv").write_text(
        "\n".join(["clip_id,emotion", *[f"t{number},{'b' if number == 0 else 'a'}" for number in range(10)]])
    )
    out = tmp_path / "vote.parquet"
    vote(VoteConfig(predictions=[tmp_path / "run.csv"], prior="em", train_labels=tmp_path / "train.csv", out=out))
    found = read(out)
    assert found["c0"]["prob_b"] > 0.05
    assert found["c9"]["prob_b"] > 0.6


@pytest.mark.parametrize(
    ("text", "changes", "error", "message"),
    [
        ("clip_id,emotion\nc1,angry\nc3,happy\n", {"rule": {"name": "majority"}}, PredictionError, "2 clips, e.g. 'c2', only one of them"),
        ("clip_id,emotion\nc1,angry\nc2,happy\n", {}, ConfigError, r"late \(.*\) has no prob_ columns, which mean needs"),
        (
            "clip_id,emotion\nc1,angry\nc2,glad\n",
            {"rule": {"name": "majority"}},
            PredictionError,
            "'glad', which is none of the prob_ columns",
        ),
        ("clip_id,emotion\nc1,angry\nc1,happy\n", {"rule": {"name": "majority"}}, PredictionError, "'c1' is predicted twice"),
        (f"{HEADER}c1,angry,,0.1,0\nc2,happy,0.2,0.8,0\n", {}, PredictionError, "hold no probabilities"),
        ("clip_id,prob_angry,prob_happy\nc1,0.1,0.9\n", {}, PredictionError, "no emotion for some clips"),
    ],
)
def test_files_that_do_not_fit_are_refused(files, tmp_path, text, changes, error, message):
    (tmp_path / "late.csv").write_text(text)
    with pytest.raises(error, match=message):
        vote(VoteConfig(predictions=[files[0], tmp_path / "late.csv"], out=tmp_path / "out.csv", **changes))
    assert not (tmp_path / "out.csv").exists()
