"""Finished runs -> plain tables, a table on the terminal, and one self-contained HTML page."""

from mer_ray.reporting.report import ReportConfig, ReportSummary, write_report
from mer_ray.reporting.terminal import print_table

__all__ = ["ReportConfig", "ReportSummary", "print_table", "write_report"]
