"""The content of `mer-ray probe` -> one self-contained HTML page."""

from pathlib import Path
from typing import Any, get_args

from mer_ray.core.artefacts import write_text
from mer_ray.core.counting import say_count
from mer_ray.probing.config import Pooling
from mer_ray.reporting.page import figures_script, json_script, own_files, page_template, plotly_script
from mer_ray.reporting.probe_figures import atlas_figure, atlas_height, describe, leaders_figure, leaders_height
from mer_ray.reporting.words import ABSENT, format_number, metric_title


def write_probe_page(facts: dict[str, Any], path: Path) -> None:
    """Write the page atomically."""
    write_text(path, render_probe(facts))


def render_probe(facts: dict[str, Any]) -> str:
    """Heat maps of encoder and layer for each pooling and metric, the first candidates with intervals, and the whole ranking."""
    entries = facts["entries"]
    leaders = [one for one in entries if one["interval"] is not None]
    metrics = [facts["metric"], *(f"{name}_ccc" for name in facts["values"] if f"{name}_ccc" != facts["metric"])]
    used = {one["pooling"] for one in entries}
    poolings = [pooling for pooling in get_args(Pooling) if pooling in used]
    maps = [(f"{metric}-{pooling}", metric, pooling) for metric in metrics for pooling in poolings]
    figures = {key: atlas_figure(entries, pooling, metric) for key, metric, pooling in maps}
    figures["leaders"] = leaders_figure(leaders, facts["metric"], facts["chance"].get(facts["metric"]))
    return page_template("probe.html.jinja", {}).render(
        facts=facts,
        maps=maps,
        absent=ABSENT,
        heights={"atlas": atlas_height(entries), "leaders": leaders_height(leaders)},
        headline=headline_of(facts),
        columns=columns_of(facts),
        style=own_files("page.css"),
        script=own_files("page.js"),
        plotly=plotly_script(),
        data=json_script(facts),
        figures=figures_script(figures),
    )


def columns_of(facts: dict[str, Any]) -> list[str]:
    """The metrics of the table, the one of the ranking first."""
    names = ["weighted_f1", "uar", "accuracy", *(f"{value}_{kind}" for value in facts["values"] for kind in ("ccc", "mse"))]
    return [facts["metric"], *(name for name in names if name != facts["metric"])]


def headline_of(facts: dict[str, Any]) -> str:
    """The best candidate, and how many are level with it."""
    best, metric = facts["entries"][0], facts["metric"]
    others = [one for one in facts["entries"][1:] if one["is_level"]]
    chance = facts["chance"].get(metric)
    beside = "" if chance is None else f" (chance: {format_number(chance)})"
    first = f"Best is {describe(best)}: {metric_title(metric)} {format_number(best['scores'][metric])}{beside}."
    if not others:
        return f"{first} No other candidate is level with it."
    return f"{first} {say_count(len(others), 'other candidate')} cannot be told from it on these clips; choose among them by size or speed."
