"""`mer-ray report --table`: runs in, one table for a paper out."""

from dataclasses import dataclass
from pathlib import Path

from mer_ray.core.artefacts import write_text
from mer_ray.core.table import Table
from mer_ray.reporting.paper_formats import render_table
from mer_ray.reporting.paper_table import PaperTable, build_paper_table
from mer_ray.reporting.references import find_references
from mer_ray.reporting.report import ReportConfig, read_runs


@dataclass(frozen=True)
class PaperReport:
    """The table as data and as the text that goes into the paper."""

    table: PaperTable
    text: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What the author must know."""
        return self.table.notes


@dataclass(frozen=True)
class WrittenPaperReport:
    """A table that lies in a file."""

    report: PaperReport
    path: Path

    def tables(self) -> list[Table]:
        """For a terminal: where the table is, and what its author must know."""
        num_published = len(self.report.table.published)
        rows = ((str(self.path), len(self.report.table.rows), num_published),)
        return [Table("Table of runs", ("file", "runs", "published rows"), rows, self.report.notes)]


def make_paper_report(config: ReportConfig) -> PaperReport:
    """Read the runs and make the table that `config.table` asks for.

    Raises:
        ConfigError: nothing is known to be published of `reference`, or no run, or several, are called `baseline`.
        RunError: as `write_report`, or nobody has one of `metrics`.

    """
    assert config.table is not None
    published = find_references(config.reference) if config.reference else []
    table = build_paper_table(
        read_runs(config),
        published,
        metric=config.metric,
        metrics=config.metrics,
        split=config.split,
        baseline=config.baseline,
        costs=config.costs,
        num_swaps=config.num_swaps,
    )
    return PaperReport(table, render_table(table, config.table))


def write_paper_report(config: ReportConfig) -> WrittenPaperReport:
    """Make the table and write it to `config.out`, atomically."""
    report = make_paper_report(config)
    write_text(config.out, report.text)
    return WrittenPaperReport(report, config.out)
