import io
from pathlib import Path

from rich.console import Console
from written_run import RunMaker

from mer_ray.reporting import ReportConfig, ReportSummary, write_report


def shown(summary: ReportSummary) -> str:
    stream = io.StringIO()
    for table in summary.tables():
        table.show(Console(file=stream, width=100))
    return stream.getvalue()


def test_the_table_tells_all(make_run: RunMaker, tmp_path: Path) -> None:
    ceilings = tmp_path / "corpus.json"
    ceilings.write_text('{"ceilings": {"audio": 0.7, "vision": 0.6, "text": 0.8, "fused": 0.95}}')
    runs = (make_run("fused", skill=3.0), make_run("audio", streams=("spectral",), skill=0.5, normalisation="speaker (transductive)"))
    summary = write_report(ReportConfig(runs=runs, out=tmp_path / "report.html", ceilings=ceilings))
    text = shown(summary)
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [line[0] for line in lines] == ["fused", "audio (transductive)"]
    for line, row in zip(lines, summary.summary, strict=True):
        score = row["scores"]["weighted_f1"]
        interval = f"[{score['low']:.3f}, {score['high']:.3f}]"
        assert line[1:] == [f"{score['mean']:.3f}", f"{score['std']:.3f}", interval, f"{row['ceiling']:.3f}", "60"]
    assert str(tmp_path / "report.html") in text.replace("\n", "")
    assert "fused is best" in text


def test_a_name_in_brackets_is_shown(make_run: RunMaker, tmp_path: Path) -> None:
    assert "[bold]" in shown(write_report(ReportConfig(runs=(make_run("[bold]"),), out=tmp_path / "report.html")))


def test_no_column_of_ceilings_where_none_is_known(make_run: RunMaker, tmp_path: Path) -> None:
    summary = write_report(ReportConfig(runs=(make_run(seeds=(0,)),), out=tmp_path / "report.html"))
    (table,) = summary.tables()
    assert table.columns == ("run", "weighted F1", "± seeds", "95 % interval", "clips")
    assert all(len(row) == len(table.columns) for row in table.rows)
