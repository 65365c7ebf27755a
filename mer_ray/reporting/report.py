"""`mer-ray report`: runs in, one HTML page and one table out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from mer_ray.core.artefacts import write_text
from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.core.errors import RunError
from mer_ray.core.table import Table
from mer_ray.reporting.ceilings import read_ceilings
from mer_ray.reporting.page import render_page
from mer_ray.reporting.runs import read_run
from mer_ray.reporting.tables import build_tables
from mer_ray.reporting.words import format_interval, metric_title


class ReportConfig(Config):
    """Which runs to show, and where the page goes.

    `metric` orders the runs; `split` picks the split to explain in full (default: test, else dev);
    `ceilings` is a JSON file with the best possible scores, `{"ceilings": {"audio": 0.7, ..., "fused": 0.9}}`.
    """

    runs: tuple[Path, ...] = where_or_how_fast(min_length=1)
    out: Path = where_or_how_fast(Path("report.html"))
    title: str = "Emotion recognition: report"
    metric: str = "weighted_f1"
    split: str | None = None
    ceilings: Path | None = where_or_how_fast(None)
    max_mistakes: int = Field(default=20, ge=0)

    def build(self) -> "ReportSummary":
        """Write the page."""
        return write_report(self)


@dataclass(frozen=True)
class ReportSummary:
    """Where the page lies, and its first table: a row per run, best first.

    A row holds `name`, `modalities`, `normalisation`, `transductive`, `protocol`, `split`, `num_clips`, `num_seeds`, `ceiling`,
    `scores[metric]` = {mean, std, low, high, per_seed}, and `behind` = {mean, low, high} of its distance to the best (None for the best).
    """

    path: Path
    metric: str
    summary: list[dict[str, Any]]
    notes: tuple[str, ...]

    def tables(self) -> list[Table]:
        """The result for a terminal: score, spread over seeds, interval, ceiling where one is known."""
        title = metric_title(self.metric)
        columns = ["run", title, "± seeds", "95 % interval", "ceiling", "clips"]
        rows = [self._cells(row) for row in self.summary]
        if all(row["ceiling"] is None for row in self.summary):
            position = columns.index("ceiling")
            columns.pop(position)
            rows = [(*cells[:position], *cells[position + 1 :]) for cells in rows]
        return [Table(f"{title}, best first", tuple(columns), tuple(rows), (*self.notes, f"report: {self.path}"))]

    def _cells(self, row: dict[str, Any]) -> tuple[Any, ...]:
        score = row["scores"][self.metric]
        name = f"{row['name']} (transductive)" if row["transductive"] else row["name"]
        return name, score["mean"], score["std"], format_interval(score), row["ceiling"], row["num_clips"]


def write_report(config: ReportConfig) -> ReportSummary:
    """Read the runs, write the page atomically.

    Raises:
        RunError: a folder is no finished run, two runs are the same folder, or no run has the metric or split.

    """
    folders = [folder.resolve() for folder in config.runs]
    twice = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
    if twice:
        raise RunError(f"the report names {', '.join(twice)} more than once; give every run once")
    tables = build_tables(
        [read_run(folder) for folder in config.runs],
        metric=config.metric,
        split=config.split,
        ceilings=read_ceilings(config.ceilings) if config.ceilings else {},
        max_mistakes=config.max_mistakes,
    )
    write_text(config.out, render_page(config.title, tables))
    return ReportSummary(config.out, config.metric, tables["summary"], (" ".join(tables["headline"]), *tables["remarks"]))
