"""The result table on the terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mer_ray.reporting.report import ReportSummary
from mer_ray.reporting.words import format_interval, format_mean, format_number, metric_title


def print_table(summary: ReportSummary, console: Console | None = None) -> None:
    """Print one row per run, best first: score with spread over seeds and interval, ceiling, clips; then the page's path."""
    console = console or Console()
    table = Table(title=f"{metric_title(summary.metric)}, best first", title_justify="left")
    table.add_column("run", overflow="fold")
    has_ceilings = any(row["ceiling"] is not None for row in summary.table)
    for title in (metric_title(summary.metric), "95 % interval", *(["ceiling"] if has_ceilings else []), "clips"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in summary.table:
        table.add_row(*_cells(row, summary.metric, has_ceilings))
    console.print(table)
    if any(row["transductive"] for row in summary.table):
        console.print("transductive: features normalised with statistics of each speaker's own clips, test speakers included")
    console.print(f"report: {escape(str(summary.path))}", soft_wrap=True)


def _cells(row: dict[str, Any], metric: str, has_ceilings: bool) -> list[str]:
    score = row["scores"][metric]
    name = f"{row['name']} (transductive)" if row["transductive"] else row["name"]
    ceiling = [format_number(row["ceiling"])] if has_ceilings else []
    return [escape(name), format_mean(score), format_interval(score), *ceiling, str(row["num_clips"])]
