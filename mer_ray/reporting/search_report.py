"""`mer-ray report SEARCH`: the page of a finished search, written again from its folder."""

from pathlib import Path

from mer_ray.core.errors import ConfigError
from mer_ray.reporting.report import ReportConfig
from mer_ray.reporting.search_page import write_search_page
from mer_ray.tuning.search_folder import SearchFolder
from mer_ray.tuning.tune import SearchSummary

# What a search takes of a report's config; the rest speaks of runs.
KNOWN = {"runs", "out"}


def is_search(config: ReportConfig) -> bool:
    """Whether a report is about a search, complete or not; what cannot be shown of it `write_search_report` tells."""
    searches = map(SearchFolder, config.runs)
    return any(search.facts_path.is_file() or search.trials_path.is_file() for search in searches)


def search_page_path(config: ReportConfig) -> Path:
    """Where the page goes: `out` where it is given, else into the search's folder."""
    return config.out if "out" in config.model_fields_set else SearchFolder(config.runs[0]).page_path


def write_search_report(config: ReportConfig) -> SearchSummary:
    """Write the page.

    Raises:
        ConfigError: more than the search is named, or a setting that its page does not have.
        RunError: its files cannot be read.

    """
    if len(config.runs) > 1:
        raise ConfigError(f"runs: {', '.join(map(str, config.runs))}: a search has a page of its own; report it alone")
    fields = type(config).model_fields
    foreign = [name for name in fields if name not in KNOWN and getattr(config, name) != fields[name].default]
    if foreign:
        raise ConfigError(f"{', '.join(foreign)}: {config.runs[0]} is a search, whose page does not have this; leave it out")
    folder = SearchFolder(config.runs[0])
    write_search_page(folder, search_page_path(config))
    return SearchSummary(folder.root, folder.read_facts(), was_complete=False)
