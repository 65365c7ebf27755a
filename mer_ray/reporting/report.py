"""`mer-ray report`: runs in, one HTML page and one table out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mer_ray.core.artefacts import write_text
from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.core.errors import RunError
from mer_ray.core.table import Table
from mer_ray.objectives.pairing import NUM_SWAPS
from mer_ray.reporting.ceilings import read_ceilings
from mer_ray.reporting.clip_media import copy_clips, media_folder, with_media
from mer_ray.reporting.page import render_page
from mer_ray.reporting.paper_formats import SUFFIXES, TableFormat
from mer_ray.reporting.runs import Run, read_run
from mer_ray.reporting.tables import build_tables
from mer_ray.reporting.words import format_interval, metric_title

PAGE_SUFFIXES = (".html", ".htm")


class ReportConfig(Config):
    """Which runs to show, and where the page goes.

    `metric` orders the runs; `split` picks the split to explain in full (default: test, else dev);
    `ceilings` is a JSON file with the best possible scores, `{"ceilings": {"audio": 0.7, ..., "fused": 0.9}}`.

    `media: small` lists the clips to check, at most `max_mistakes` and `max_uncertain` of each run, and puts copies of them beside the
    page, so that they play in it; `none` leaves that section out.

    With `table` a table for a paper is made instead of the page: `metrics` are its columns, the first orders the runs where
    `metric` is not given (default: all that a run or a published row has), `reference` adds the published rows of a corpus or of
    one of its splits (`MER2023/MULTI`), `baseline` names the run that the others are compared with in place of the best, `costs` adds
    seeds, parameters, time and memory, `num_swaps` make its p-values, and `out` defaults to report.md, .tex or .csv.
    """

    runs: tuple[Path, ...] = where_or_how_fast(min_length=1)
    out: Path = where_or_how_fast(Path("report.html"))
    title: str = "Emotion recognition: report"
    metric: str = "weighted_f1"
    split: str | None = None
    ceilings: Path | None = where_or_how_fast(None)
    max_mistakes: int = Field(default=20, ge=0)
    max_uncertain: int = Field(default=10, ge=0)
    media: Literal["none", "small"] = "small"
    table: TableFormat | None = None
    reference: str | None = None
    metrics: tuple[str, ...] | None = Field(default=None, min_length=1)
    baseline: str | None = None
    costs: bool = False
    num_swaps: int = Field(default=NUM_SWAPS, ge=1, le=1_000_000)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_for_the_table(cls, data: Any) -> Any:
        # What is no table's config goes on as it is, so that its faults are told with their place.
        if not isinstance(data, dict) or data.get("table") not in tuple(SUFFIXES):
            return data
        defaults = {"out": f"report{SUFFIXES[data['table']]}"}
        if isinstance(data.get("metrics"), (list, tuple)) and data["metrics"]:
            defaults["metric"] = data["metrics"][0]
        return {**defaults, **data}

    @model_validator(mode="after")
    def _check_suffix(self) -> "ReportConfig":
        allowed = PAGE_SUFFIXES if self.table is None else (SUFFIXES[self.table],)
        if self.out.suffix.lower() not in allowed:
            what = "the page is HTML" if self.table is None else f"the table is {self.table}"
            raise ValueError(f"out: {self.out}: {what}; name the file *{' or *'.join(allowed)}")
        return self

    @model_validator(mode="after")
    def _check_table(self) -> "ReportConfig":
        given = [key for key in ("reference", "metrics", "baseline", "costs") if getattr(self, key) not in (None, False)]
        if given and self.table is None:
            raise ValueError(f"{', '.join(given)}: for a table only; set table to {', '.join(SUFFIXES)}, or leave it out")
        if self.metrics and self.metric not in self.metrics:
            raise ValueError(f"metrics: names not the metric that orders the runs, {self.metric}; name it, or set metric to one of them")
        return self

    def build(self) -> "ReportSummary":
        """Write the page."""
        return write_report(self)


@dataclass(frozen=True)
class ReportSummary:
    """Where the page lies, and its first table: a row per run, best first.

    A row holds `name`, `modalities`, `normalisation`, `transductive`, `protocol`, `split`, `num_clips`, `num_seeds`, `ceiling`,
    `scores[metric]` = {mean, std, low, high, per_seed}, `ensemble[metric]` = {mean, std (None), low, high} of the seeds together (empty for
    one seed), `same_clips` (as the first), and `behind` = {mean, low, high} of its distance to the first (None for itself and on other
    clips).
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
        order = "best first" if all(row["same_clips"] for row in self.summary) else "on different clips, best first"
        return [Table(f"{title}, {order}", tuple(columns), tuple(rows), (*self.notes, f"report: {self.path}"))]

    def _cells(self, row: dict[str, Any]) -> tuple[Any, ...]:
        score = row["scores"][self.metric]
        name = f"{row['name']} (transductive)" if row["transductive"] else row["name"]
        return name, score["mean"], score["std"], format_interval(score), row["ceiling"], row["num_clips"]


def read_runs(config: ReportConfig) -> list[Run]:
    """Read all runs of a report.

    Raises:
        RunError: a folder is no finished run, or two runs are the same folder.

    """
    folders = [folder.resolve() for folder in config.runs]
    twice = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
    if twice:
        raise RunError(f"the report names {', '.join(twice)} more than once; give every run once")
    return [read_run(folder) for folder in folders]


def write_report(config: ReportConfig) -> ReportSummary:
    """Read the runs, write the page atomically.

    Raises:
        RunError: a folder is no finished run, two runs are the same folder, no run has the metric or split, or a file is where the
            copies of the clips go.

    """
    runs = read_runs(config)
    tables = build_tables(
        runs,
        metric=config.metric,
        split=config.split,
        ceilings=read_ceilings(config.ceilings) if config.ceilings else {},
        max_mistakes=config.max_mistakes,
        max_uncertain=config.max_uncertain,
    )
    if config.media == "small":
        tables["clips"] = with_media(tables["clips"], runs, media_folder(config.out))
    else:
        tables["clips"] = None
        copy_clips({}, media_folder(config.out))
    write_text(config.out, render_page(config.title, tables))
    return ReportSummary(config.out, config.metric, tables["summary"], (" ".join(tables["headline"]), *tables["remarks"]))
