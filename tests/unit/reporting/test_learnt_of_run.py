"""The report of runs as training writes them: what models learnt, their numbers about clips, and what they cost."""

import json

import pytest
from training_corpus import make_corpus

from mer_ray.reporting.paper_report import write_paper_report
from mer_ray.reporting.report import ReportConfig, write_report
from mer_ray.training import train


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


def test_a_table_with_costs_compares_with_the_baseline(runs, tmp_path):
    options = {"table": "csv", "costs": True, "baseline": "attention", "num_swaps": 9, "metrics": ("weighted_f1",)}
    config = ReportConfig(runs=tuple(runs.values()), out=tmp_path / "table.csv", **options)
    write_paper_report(config)
    header, *rows = (tmp_path / "table.csv").read_text().splitlines()
    assert len(rows) == 3 and all(word in header for word in ("seeds", "parameters", "epoch", "memory"))
