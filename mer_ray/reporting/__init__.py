"""Finished runs -> plain tables and one self-contained HTML page."""

from mer_ray.reporting.report import ReportConfig, ReportSummary, write_report

__all__ = ["ReportConfig", "ReportSummary", "write_report"]
