"""Tables and figures -> one self-contained HTML page: plotly.js, style and script are inlined, nothing is fetched."""

import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mer_ray.core.counting import say_count
from mer_ray.reporting.calibration_figure import confidence_figure, reliability_figure
from mer_ray.reporting.figures import attention_figure, colour_of, curve_figure, runs_figure, value_figure
from mer_ray.reporting.learnt_figures import class_values_figure, fact_figure, noise_figure, rows_height, steps_figures
from mer_ray.reporting.words import (
    ABSENT,
    format_bytes,
    format_count,
    format_interval,
    format_mean,
    format_number,
    format_significant,
    metric_title,
)

FOLDER = Path(__file__).parent
SIZE_MARK = "%%page-size%%"


def render_page(title: str, tables: dict[str, Any]) -> str:
    """The page of the tables of `build_tables`; it says its own size."""
    filters = {"mean": format_mean, "interval": format_interval, "thousands": format_count, "rows_height": rows_height}
    page = page_template("page.html.jinja", filters).render(
        title=title,
        absent=ABSENT,
        size=SIZE_MARK,
        style=own_files("page.css", "clips.css"),
        script=own_files("page.js", "clips.js"),
        plotly=plotly_script(),
        data=json_script(tables),
        figures=figures_script(_figures(tables)),
        card_slugs=_card_slugs(tables),
        **tables,
    )
    return page.replace(SIZE_MARK, format_bytes(len(page.encode())))


def page_template(name: str, filters: Mapping[str, Any]) -> jinja2.Template:
    """One of our templates, with filters beside those that all of them use; each is compiled once."""
    environment = _environment()
    environment.filters.update(filters)
    return environment.get_template(name)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=format_number, significant=format_significant, count=say_count, metric=metric_title)
    return environment


def plotly_script() -> Markup:
    """What draws the figures, so that a page opens without network."""
    return Markup(get_plotlyjs())  # noqa: S704 - plotly's own bundle


def own_files(*names: str) -> Markup:
    """Our own style or script files, one after the other."""
    return Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names))  # noqa: S704 - our own files


def _card_slugs(tables: dict[str, Any]) -> dict[str, dict[str, str]]:
    """By run and clip id the element that shows the clip."""
    found: dict[str, dict[str, str]] = {run["slug"]: {} for run in tables["runs"]}
    for card in tables["clips"]["cards"] if tables["clips"] else ():
        for verdict in card["verdicts"]:
            found[verdict["run"]][card["clip_id"]] = card["slug"]
    return found


def _figures(tables: dict[str, Any]) -> dict[str, go.Figure]:
    figures = {"runs": runs_figure(tables["summary"], tables["metric"])}
    for run in tables["runs"]:
        colour = colour_of(run["modalities"])
        for name, title in (("train_loss", "training loss"), ("dev", None)):
            curve = run["curves"][name]
            if curve is not None:
                label = title or f"dev {metric_title(curve['name'].removeprefix('dev_'))}"
                figures[f"{run['slug']}-{name}"] = curve_figure(curve, label, colour)
        if run["attention"] is not None:
            figures[f"{run['slug']}-attention"] = attention_figure(run["attention"])
        if run["calibration"] is not None:
            figures[f"{run['slug']}-reliability"] = reliability_figure(run["calibration"], colour)
            figures[f"{run['slug']}-confidence"] = confidence_figure(run["calibration"], colour)
        for points in run["values"]:
            if points["labels"]:
                figures[f"{run['slug']}-{points['name']}"] = value_figure(points, colour)
        figures |= _learnt_figures(run, colour)
    return figures


def _learnt_figures(run: dict[str, Any], colour: str) -> dict[str, go.Figure]:
    """What the run's models learnt and say, by the name of its place in the page."""
    figures: dict[str, go.Figure] = {}
    if run["curves"]["steps"]:
        losses = steps_figures(run["curves"]["steps"], "training loss")
        figures |= {f"loss-{number}": figure for number, figure in enumerate(losses)}
    if run["uncertainties"]:
        variances = steps_figures(run["uncertainties"]["steps"], "log variance s", zero=True)
        figures |= {f"variance-{number}": figure for number, figure in enumerate(variances)}
    for table in run["class_values"]:
        figures[f"learnt-{table['name']}"] = class_values_figure(table, colour)
    for table in run["model_facts"]:
        figures[f"fact-{table['name']}"] = fact_figure(table, colour)
        if table["noise"] and table["noise"]["note"] is None:
            figures[f"noise-{table['name']}"] = noise_figure(table, colour)
    return {f"{run['slug']}-{name}": figure for name, figure in figures.items()}


def figures_script(figures: Mapping[str, go.Figure]) -> Markup:
    """Figures by the name of their place in the page, for its script."""
    return json_script({name: json.loads(figure.to_json()) for name, figure in figures.items()})


def json_script(value: Any) -> Markup:
    """JSON that may stand in a script element: no `<`, and null for what JSON cannot say (NaN)."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - the only character that can end a script element is escaped


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
