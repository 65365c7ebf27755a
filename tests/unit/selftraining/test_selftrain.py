"""The verb: what it leaves, and that it goes on where it was."""

import json

import pyarrow.parquet as pq
import pytest

from mer_ray.core.errors import RunError
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.evaluate import evaluate
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.reporting.selftrain_page import render_selftrain
from mer_ray.selftraining.folder import SelftrainFolder
from mer_ray.selftraining.selftrain import selftrain

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(shifted, tmp_path_factory):
    """A finished one: the config, its summary, its folder."""
    config = shifted.config(tmp_path_factory.mktemp("done") / "out", train={"epochs": 4, "seeds": [0, 1]}, compare_equal_steps=True)
    config = config.model_copy(update={"selection": config.selection.model_copy(update={"threshold": 0.2})})
    return config, selftrain(config), config.out


def test_a_rounds_pseudo_labels_say_who_voted_what(done):
    _, summary, out = done
    table = pq.read_table(out / "round1" / "pseudo_labels.parquet")
    voters = [f"{teacher}_seed{seed}" for teacher in ("both", "late") for seed in (0, 1)]
    assert [name for name in table.column_names if name.startswith("vote_")] == [f"vote_{voter}" for voter in voters]
    rows = table.to_pylist()
    assert len(rows) == 160
    for row in rows:
        votes = [row[f"vote_{voter}"] for voter in voters]
        assert row["agreement"] == votes.count(row["emotion"])
        assert row["confidence"] == pytest.approx(sum(row[f"confidence_{voter}"] for voter in voters) / 4, abs=1e-5)
        assert row["selected"] == (row["confidence"] >= 0.2 and row["agreement"] >= 1)
    right = [row["emotion"] == row["label_emotion"] for row in rows if row["selected"]]
    pseudo = summary.facts["rounds"][1]["pseudo"]
    assert pseudo["truth"]["precision"] == pytest.approx(sum(right) / len(right))
    assert pseudo["num_selected"] == len(right)


def test_rounds_are_runs_and_the_best_one_becomes_a_bundle(done):
    _, summary, out = done
    student = json.loads((out / "round1" / "late" / "run.json").read_text())
    assert student["model"]["name"] == "late_fusion"
    assert student["num_clips"]["train"] == 100 + summary.facts["rounds"][1]["pseudo"]["num_selected"]
    assert any("pseudo-labels" in note for note in student["notes"])
    bundle = load_bundle(out / "bundle", "cpu", False)
    assert [group.run for group in bundle.facts.groups] == ["both", "late"]
    assert len(pq.read_table(out / "predictions" / "target.parquet")) == 80
    assert set(summary.facts["splits"]) == {"dev", "test", "target", "unlabelled"}
    assert {row["split"] for row in summary.facts["compared"]} == set(summary.facts["splits"])
    assert {row["of"] for row in summary.facts["equal_steps"]} == {"vote", "both", "late"}


def test_started_again_it_does_nothing_and_another_config_is_refused(done):
    config, summary, out = done
    again = selftrain(config)
    assert again.was_complete
    assert again.facts == json.loads(json.dumps(summary.facts))
    with pytest.raises(RunError, match="holds another self-training"):
        selftrain(config.model_copy(update={"max_rounds": 2}))
    with pytest.raises(RunError, match=r"is not empty and holds no state.json"):
        selftrain(config.model_copy(update={"out": out / "round0"}))


def test_killed_between_rounds_it_goes_on_and_ends_the_same(done, tmp_path, monkeypatch):
    config, summary, out = done
    killed = config.model_copy(update={"out": tmp_path / "killed"})

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SelftrainFolder, "write_pseudo_labels", die)
        with pytest.raises(KeyboardInterrupt):
            selftrain(killed)
    teachers = tmp_path / "killed" / "round0"
    written = {path: path.stat().st_mtime_ns for path in teachers.rglob("*") if path.is_file()}
    assert written
    assert not (tmp_path / "killed" / "round1").exists()
    resumed = selftrain(killed)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    for key in ("rounds", "compared", "votes", "equal_steps", "best_round"):
        assert resumed.facts[key] == summary.facts[key]
    first, other = (pq.read_table(folder / "round1" / "pseudo_labels.parquet") for folder in (out, tmp_path / "killed"))
    assert first.equals(other)


def test_the_page_shows_rounds_thresholds_and_votes_and_says_what_hurts(done):
    _, summary, _ = done
    page = render_selftrain(summary.facts | {"warnings": ["round 1 hurts vote on test"]})
    assert "<li>round 1 hurts vote on test</li>" in page
    figures = json.loads(page.split('id="mer-ray-figures">')[1].split("</script>")[0])
    assert set(figures) == {"rounds", "votes", "compared", "histogram-1", "threshold-1"}
    counts = summary.facts["rounds"][1]["pseudo"]["histogram"]["classes"]
    assert sum(sum(one["all"]) for one in counts.values()) == 160
    assert sum(sum(one["selected"]) for one in counts.values()) == summary.facts["rounds"][1]["pseudo"]["num_selected"]
    bars = [trace for trace in figures["histogram-1"]["data"] if trace["type"] == "bar"]
    assert len(bars) == 2 * len(summary.facts["classes"])


def test_every_round_leaves_predictions_that_evaluate_reads(done, tmp_path):
    _, summary, out = done
    files = [out / f"round{number}" / "predictions" / "target.parquet" for number in (0, 1)]
    labels = out / "labels" / "target.parquet"
    found = evaluate(EvaluateConfig(predictions=files, labels=labels, protocol="emotion", out=tmp_path / "scores.json"))
    scores = [one["scores"]["weighted_f1"] for one in found.facts["files"]]
    expected = [one["scores"]["target"]["vote"]["weighted_f1"] for one in summary.facts["rounds"]]
    assert scores == pytest.approx(expected)
