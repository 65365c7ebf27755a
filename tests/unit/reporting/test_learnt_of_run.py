"""The report of runs as training writes them: what models learnt, their numbers about clips, and what they cost."""

import csv
import io
import json

import pytest
from training_corpus import make_corpus

from mer_ray.reporting.paper_report import write_paper_report
from mer_ray.reporting.report import ReportConfig, write_report
from mer_ray.training import train

# Of whole trainings, half a second each.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"))
    models = {
        "attention": {"name": "attention", "hidden": 8},
        "hierarchical": {"name": "hierarchical", "hidden": 8, "structures": ["flat", "hierarchical"]},
        "guided": {"name": "audio_guided", "hidden": 8, "num_heads": 2, "feed_forward": 8, "fallback": "gate"},
    }
    for name, model in models.items():
        weighting = "uncertainty" if name == "hierarchical" else "fixed"
        train(corpus.config(name, model=model, seeds=[0, 1], epochs=2, weighting=weighting))
    return {name: corpus.folder / name for name in models}


def test_the_page_shows_class_values_uncertainties_and_gates(runs, tmp_path):
    write_report(ReportConfig(runs=tuple(runs.values()), out=tmp_path / "report.html", media="none"))
    page = (tmp_path / "report.html").read_text()
    for facts in (json.loads((run / "run.json").read_text()) for run in runs.values()):
        assert f"{facts['model']['num_parameters']:,}" in page
    assert "log variance" in page and "guide gate" in page.replace("_", " ") and "gate valence" in page.replace("_", " ")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run with a dev set that stops early, with dropout and smoothed labels."""
    corpus = make_corpus(tmp_path_factory.mktemp("stopped"))
    protocol = {"name": "folds", "dev": "next_fold"}
    stopping = {"metric": "loss", "patience": 2}
    config = corpus.config("stopped", epochs=30, seeds=[0, 1], protocol=protocol, early_stopping=stopping, label_smoothing=0.1)
    train(config)
    return config.out


def test_losses_are_of_predictions_by_the_models_that_test(stopped):
    history = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    fits = {(row["fold"], row["seed"]): [] for row in history}
    for row in history:
        fits[row["fold"], row["seed"]].append(row)
    best = [min(rows, key=lambda row: row["dev_loss"]) for rows in fits.values()]
    assert len(best) == 8 and any(row["epoch"] < rows[-1]["epoch"] for row, rows in zip(best, fits.values(), strict=True))
    losses = json.loads((stopped / "run.json").read_text())["losses"]
    assert losses["dev_loss"] == pytest.approx(sum(row["dev_loss"] for row in best) / 8)
    # Without dropout and smoothed labels, and after the epoch has moved the weights.
    assert losses["train_loss"] < sum(row["train_loss"] for row in best) / 8
    assert losses["train_loss"] < losses["dev_loss"]


@pytest.mark.parametrize(("table", "suffix"), [("md", "md"), ("latex", "tex"), ("csv", "csv")])
def test_a_table_shows_losses_where_a_run_has_them(runs, stopped, tmp_path, table, suffix):
    losses = json.loads((stopped / "run.json").read_text())["losses"]
    texts = []
    for folders in ((stopped, runs["attention"]), (runs["attention"],)):
        out = tmp_path / f"{len(folders)}.{suffix}"
        write_paper_report(ReportConfig(runs=folders, out=out, table=table, costs=True, num_swaps=9, metrics=("weighted_f1",)))
        texts.append(out.read_text())
    if table == "csv":
        with_losses, without = (list(csv.DictReader(io.StringIO(text))) for text in texts)
        found = {row["system"]: (row["train_loss"], row["dev_loss"]) for row in with_losses}
        assert found["attention"] == ("", "") and "dev_loss" not in without[0]
        assert [float(loss) for loss in found["stopped"]] == [losses["train_loss"], losses["dev_loss"]]
        return
    absent, end = {"md": ("–", " |"), "latex": ("--", " \\\\")}[table]
    separator = {"md": " | ", "latex": " & "}[table]
    rows = {name: next(line for line in texts[0].splitlines() if name in line.split(separator)[0]) for name in ("stopped", "attention")}
    assert rows["stopped"].endswith(f"{separator.join(f'{losses[name]:.3f}' for name in ('train_loss', 'dev_loss'))}{end}")
    assert rows["attention"].endswith(f"{absent}{separator}{absent}{end}")
    assert f"train loss{separator}dev loss" in texts[0] and "Losses:" in texts[0]
    assert "dev loss" not in texts[1] and "Losses:" not in texts[1]


def test_the_page_says_both_losses(stopped, tmp_path):
    write_report(ReportConfig(runs=(stopped,), out=tmp_path / "report.html", media="none"))
    losses = json.loads((stopped / "run.json").read_text())["losses"]
    page = (tmp_path / "report.html").read_text()
    assert f"train {losses['train_loss']:.3f}, dev {losses['dev_loss']:.3f}" in page


def test_a_run_without_dev_has_no_losses(runs):
    assert json.loads((runs["attention"] / "run.json").read_text())["losses"] is None


def test_a_table_with_costs_compares_with_the_baseline(runs, tmp_path):
    options = {"table": "csv", "costs": True, "baseline": "attention", "num_swaps": 9, "metrics": ("weighted_f1",)}
    config = ReportConfig(runs=tuple(runs.values()), out=tmp_path / "table.csv", **options)
    write_paper_report(config)
    rows = {row["system"]: row for row in csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text()))}
    assert rows.keys() == runs.keys()
    for name, row in rows.items():
        facts = json.loads((runs[name] / "run.json").read_text())
        assert int(row["num_parameters"]) == facts["model"]["num_parameters"] and row["num_seeds"] == "2"
        costs = ("seconds_per_epoch", "milliseconds_per_clip", "peak_memory_mb", "epochs")
        assert [float(row[cost]) for cost in costs] == [facts["cost"][cost] for cost in costs]
        if name == "attention":
            assert row["difference"] == row["p_holm"] == ""
        else:
            assert float(row["difference"]) == pytest.approx(float(row["weighted_f1"]) - float(rows["attention"]["weighted_f1"]))
            assert float(row["p"]) <= float(row["p_holm"]) <= 1
