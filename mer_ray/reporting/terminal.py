"""The result table on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from mer_ray.reporting.report import ReportSummary
from mer_ray.reporting.words import format_interval, format_mean, metric_title


def print_table(summary: ReportSummary, console: Console | None = None) -> None:
    """Print one row per run, best first: modalities, score with spread and interval, ceiling; then the page's path."""
    console = console or Console()
    ceilings = any(row["ceiling"] is not None for row in summary.table)
    columns = ["run", "modalities", "clips", "seeds", metric_title(summary.metric), "95 % interval", *(["ceiling"] if ceilings else [])]
    table = Table(*columns, title=f"{metric_title(summary.metric)}, best first")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in summary.table:
        table.add_row(*_cells(row, summary.metric, ceilings))
    console.print(table)
    if any(row["transductive"] for row in summary.table):
        console.print("transductive: features normalised with the test speakers' own unlabelled clips")
    console.print(f"report: {summary.path}", soft_wrap=True)


def _cells(row: dict[str, Any], metric: str, ceilings: bool) -> list[str]:
    score = row["scores"][metric]
    name = f"{row['name']} (transductive)" if row["transductive"] else row["name"]
    cells = [name, " + ".join(row["modalities"]), str(row["num_clips"]), str(row["num_seeds"]), format_mean(score), format_interval(score)]
    if ceilings:
        cells.append("–" if row["ceiling"] is None else f"{row['ceiling']:.3f}")
    return cells
