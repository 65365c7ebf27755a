import csv
import io
import json
import re
import statistics
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn import metrics
from written_run import ONE_CLIP, RunMaker

from mer_ray.cli import main
from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.reporting.paper_report import make_paper_report, write_paper_report
from mer_ray.reporting.report import ReportConfig


def make(*runs: Path, table: str, **options) -> str:
    return make_paper_report(ReportConfig(runs=runs, table=table, num_swaps=99, **options)).text


def csv_rows(*runs: Path, **options) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(make(*runs, table="csv", **options))))


def markdown_rows(*runs: Path, **options) -> list[list[str]]:
    lines = make(*runs, table="md", **options).split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.fixture
def three_runs(make_run: RunMaker) -> tuple[Path, ...]:
    return (
        make_run("audio", streams=("spectral",), skill=0.5, num_clips=40),
        make_run("fused", skill=3.0, num_clips=40),
        make_run("text", streams=("hashing",), skill=2.8, num_clips=40),
    )


def test_a_row_per_run_best_first_with_what_the_run_scored(three_runs: tuple[Path, ...]) -> None:
    rows = csv_rows(*three_runs)
    assert {row["system"] for row in rows} == {"fused", "text", "audio"} and rows[-1]["system"] == "audio"
    for row in rows:
        folder = next(run for run in three_runs if run.name == row["system"])
        scores = json.loads((folder / "scores.json").read_text())["splits"]["test"]
        for metric in ("weighted_f1", "uar", "accuracy", "valence_mse"):
            assert float(row[metric]) == scores["mean"][metric]
            assert [float(row[f"{metric}_low"]), float(row[f"{metric}_high"])] == scores["interval"][metric]
        assert (row["num_clips"], row["num_folds"], row["num_seeds"], row["origin"]) == ("40", "5", "3", "measured")


def test_the_deviation_is_over_single_folds_and_seeds(make_run: RunMaker) -> None:
    run = make_run("fused", skill=1.0)
    table = pq.read_table(run / "predictions" / "test.parquet").to_pylist()
    scores = []
    for fold in range(5):
        for seed in range(3):
            part = [row for row in table if (row["fold"], row["seed"]) == (fold, seed)]
            scores.append(metrics.f1_score([row["label_emotion"] for row in part], [row["emotion"] for row in part], average="weighted"))
    (row,) = csv_rows(run)
    assert float(row["weighted_f1_std"]) == pytest.approx(statistics.stdev(scores))


def test_without_folds_the_deviation_is_over_seeds_and_one_fit_has_none(make_run: RunMaker) -> None:
    several = make_run("several", folds=None, skill=1.0)
    per_seed = json.loads((several / "scores.json").read_text())["splits"]["test"]["per_seed"]
    (row,) = csv_rows(several)
    assert float(row["uar_std"]) == pytest.approx(statistics.stdev(one["uar"] for one in per_seed))
    (row,) = csv_rows(make_run("one", folds=None, seeds=(0,)))
    assert row["uar_std"] == ""
    assert "±" not in "".join(markdown_rows(make_run("another", folds=None, seeds=(0,)))[2])


def test_distances_to_the_best_are_tested_and_corrected(three_runs: tuple[Path, ...]) -> None:
    best, *others = csv_rows(*three_runs)
    assert best["p"] == best["p_holm"] == best["difference"] == ""
    for row in others:
        assert float(row["difference"]) == pytest.approx(float(row["weighted_f1"]) - float(best["weighted_f1"]), abs=1e-9)
        assert float(row["difference_low"]) < float(row["difference"]) < float(row["difference_high"])
    small, large = sorted(float(row["p"]) for row in others)
    assert small == pytest.approx(2 / 100)
    assert sorted(float(row["p_holm"]) for row in others) == pytest.approx(sorted([min(1, 2 * small), max(large, 2 * small)]))


def test_runs_on_other_clips_or_seeds_have_a_dash_and_are_never_bold(make_run: RunMaker) -> None:
    best, same = make_run("best", skill=3.0), make_run("same", skill=1.0)
    other = make_run("other", skill=2.0, num_clips=50, values=())
    fewer = make_run("fewer", skill=1.5, seeds=(0,))
    report = make_paper_report(ReportConfig(runs=(best, same, other, fewer), table="md", num_swaps=19))
    rows = {row[0]: row for row in (line.strip("| ").split(" | ") for line in report.text.splitlines()[2:6])}
    assert rows["best"][-1] == "best on its clips" and rows["same"][-1] not in ("–", "best")
    assert rows["other"][-1] == rows["fewer"][-1] == "–"
    assert "**" in "".join(rows["best"]) and not any("**" in cell for name in ("other", "fewer") for cell in rows[name])
    assert any(note.startswith("other, fewer:") or note.startswith("fewer, other:") for note in report.notes)
    assert "other: 50 test clips of synthetic." in report.text
    assert "Bold: best of our runs on the clips of the first" in report.text
    assert report.notes[0].startswith("The runs were scored on different clips")


def test_where_no_clips_are_shared_nothing_is_best(make_run: RunMaker) -> None:
    report = make_paper_report(ReportConfig(runs=(make_run("one"), make_run("two", num_clips=50)), table="md", num_swaps=19))
    header, _, *rows = (line.strip("| ").split(" | ") for line in report.text.split("\n\n")[0].splitlines())
    assert "p" not in header and not any("best" in cell or "**" in cell for row in rows for cell in row)
    assert "Bold" not in report.text and "do not compare with the first clip by clip" in report.text


def rename_corpus(run: Path, corpus: str) -> Path:
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "corpus": corpus}))
    return run


@pytest.mark.parametrize(("table", "in_text"), [("md", True), ("latex", True), ("csv", False)])
def test_published_rows_say_which_clips_they_and_ours_were_scored_on(make_run: RunMaker, table: str, in_text: bool) -> None:
    runs = (
        rename_corpus(make_run("own", skill=3.0), "mer2023"),
        make_run("held out", **ONE_CLIP),
    )
    report = make_paper_report(ReportConfig(runs=runs, table=table, reference="MER2023/MULTI", num_swaps=19, metric="accuracy"))
    said = (
        "Published rows were scored on the official test clips of MER2023 MULTI; ours on ",
        "60 test clips of mer2023, the test parts of 5 folds together (5 folds, speaker-disjoint, pooled)",
        "1 test clip of synthetic (hold-out)",
        ": not the same clips, compare with care.",
        "held out: of another corpus by its name, synthetic, not MER2023.",
    )
    for sentence in said:
        assert any(sentence in note for note in report.notes)
        assert (sentence in report.text) is in_text
    assert "own, held out" not in report.text and "own: of another corpus" not in report.text


def test_tables_without_published_rows_speak_of_none(make_run: RunMaker) -> None:
    report = make_paper_report(ReportConfig(runs=(make_run(),), table="md"))
    assert "Published" not in report.text and report.notes == ()


def test_the_best_is_bold_low_or_high(three_runs: tuple[Path, ...]) -> None:
    header, _, *rows = markdown_rows(*three_runs)
    raw = {row["system"]: row for row in csv_rows(*three_runs)}
    for title, metric, best_of in (("weighted F1 (%)", "weighted\\_f1", max), ("valence MSE", "valence\\_mse", min)):
        column = header.index(title)
        best = best_of(raw, key=lambda name: float(raw[name][metric.replace("\\", "")]))
        assert [row[0] for row in rows if row[column].startswith("**")] == [best]


def test_percent_and_interval_are_those_of_the_scores(make_run: RunMaker) -> None:
    run = make_run("fused")
    header, _, row = markdown_rows(run)
    score = json.loads((run / "scores.json").read_text())["splits"]["test"]
    low, high = score["interval"]["weighted_f1"]
    assert row[header.index("weighted F1 (%)")].startswith(f"{100 * score['mean']['weighted_f1']:.2f} ± ")
    assert row[header.index("95 % interval")] == f"\\[{100 * low:.2f}, {100 * high:.2f}\\]"
    assert "p" not in header and "source" not in header


def test_published_rows_stand_below_as_they_were_printed(three_runs: tuple[Path, ...]) -> None:
    header, _, *rows = markdown_rows(*three_runs, reference="MER2023/NOISE")
    baseline = next(row for row in rows[3:] if row[0] == "HuBERT-large (zh)†")
    assert baseline[header.index("weighted F1 (%)")] == "57.14"
    assert baseline[header.index("MER2023 combined")] == "0.16" and baseline[header.index("UAR (%)")] == "–"
    assert (baseline[header.index("source")], baseline[header.index("p")]) == ("arXiv 2304.08981", "–")
    assert all(row[header.index("MER2023 combined")] == "–" and row[header.index("source")] == "this run" for row in rows[:3])
    assert next(row for row in rows if row[0] == "eGeMAPS†")[header.index("MER2023 combined")] == "−0.47"
    raw = next(row for row in csv_rows(*three_runs, reference="MER2023/NOISE") if row["system"] == "HuBERT-large (zh)")
    assert (raw["weighted_f1"], raw["mer2023"], raw["origin"], raw["corpus"], raw["split"]) == (
        "0.5714",
        "0.16",
        "reported",
        "MER2023",
        "NOISE",
    )
    assert {row[0] for row in markdown_rows(three_runs[0], reference="MER2024")} > {"MR-CCL, SEMI†", "SZTU-CMU, NOISE†"}


def test_metrics_are_chosen_and_ordered(three_runs: tuple[Path, ...]) -> None:
    header = markdown_rows(*three_runs, metrics=("valence_mse", "uar"), metric="uar")[0]
    assert ReportConfig(runs=three_runs, table="md", metrics=("uar", "accuracy")).metric == "uar"
    assert header == ["system", "modalities", "valence MSE", "UAR (%)", "95 % interval", "p"]
    with pytest.raises(RunError, match="no run has ccc; there are accuracy"):
        make(*three_runs, table="md", metric="weighted_f1", metrics=("ccc", "weighted_f1"))


NASTY = r"a_b & 50% #1 $x$ {y} ~^ \z <|> [w] ± −"


def test_latex_is_escaped_and_balanced(make_run: RunMaker) -> None:
    text = make(make_run("[first", skill=3.0), make_run(NASTY, skill=1.0), table="latex", reference="CREMA-D")
    row = next(line for line in text.splitlines() if line.startswith("a\\_b"))
    assert row.startswith(
        r"a\_b \& 50\% \#1 \$x\$ \{y\} \textasciitilde{}\textasciicircum{} \textbackslash{}z "
        r"\textless{}\textbar{}\textgreater{} [w] $\pm$ $-$ & "
    )
    assert "{}[first & " in text
    assert text.isascii()
    bare = re.sub(r"\\[&%$#_{}\\]", "", text.partition("\n")[2])
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", bare) == ["table", "tabular"] and re.findall(r"\\end\{(\w+)\}", bare) == ["tabular", "table"]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", bare)[1]
    unescaped = [re.sub(r"\\[&%$#_{}]", "", line) for line in text.splitlines() if line.endswith(r"\\")]
    assert len(unescaped) == 4 and {line.count("&") + 1 for line in unescaped} == {len(columns)}
    assert not re.search(r"[%#_]", bare.replace("booktabs", ""))


def test_markdown_is_escaped(make_run: RunMaker) -> None:
    header, _, row = markdown_rows(make_run(NASTY.replace("/", "")))
    assert len(header) == len(row)
    assert row[0].replace("\\", "") == NASTY.replace("\\", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reference": "MER2023"}, "reference: for a table only"),
        ({"table": "md", "out": "x.tex"}, "out: x.tex: the table is md; name the file *.md"),
        ({"table": "latex", "out": "report.html"}, "out: report.html: the table is latex; name the file *.tex"),
        ({"out": "x.xlsx"}, "out: x.xlsx: the page is HTML; name the file *.html or *.htm"),
        ({"out": "report"}, "out: report: the page is HTML"),
        ({"table": "html"}, "table: 'html' is not allowed"),
        ({"table": "md", "metric": "weighted_f1", "metrics": ["uar"]}, "metrics: names not the metric that orders the runs, weighted_f1"),
    ],
)
def test_a_wrong_config_is_told(changes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(ReportConfig, {"runs": ["a"], **changes}, "job.yaml")
    assert expected in str(caught.value)


def test_a_job_writes_the_table_under_a_name_of_its_kind(make_run: RunMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = ReportConfig(runs=(make_run("fused"),), table="latex")
    written = write_paper_report(config)
    assert config.out == Path("report.tex")
    assert Path("report.tex").read_text(encoding="utf-8") == written.report.text
    assert written.tables()[0].rows == (("report.tex", 1, 0),)


@pytest.mark.slow
def test_the_command_prints_the_table_alone(
    three_runs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["report", *map(str, three_runs), "--table", "csv", "--metrics", "weighted_f1,uar", "--reference", "CREMA-D"]

    def call(*more: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["mer-ray", *words, *more])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
        captured = capsys.readouterr()
        return captured.out, captured.err

    out, _ = call()
    assert [row["system"] for row in csv.DictReader(io.StringIO(out))][-2:] == ["audio", "HiCMAE-B"]
    assert not list(tmp_path.glob("report.*"))
    again, _ = call("-o", "table.csv")
    assert again == out == (tmp_path / "table.csv").read_text()
