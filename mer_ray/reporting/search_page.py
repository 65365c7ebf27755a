"""A finished search -> one self-contained HTML page, from its search.json and trials.parquet alone."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from mer_ray.core.artefacts import write_text
from mer_ray.reporting import search_figures as drawn
from mer_ray.reporting.page import figures_script, json_script, own_files, page_template, plotly_script
from mer_ray.reporting.search_costs import costs_of, device_title
from mer_ray.reporting.search_layers import layers_of
from mer_ray.reporting.search_parallel import parallel_of, pareto_of
from mer_ray.reporting.search_trials import Trials, curves_of, failures_of, history_of, order_trials
from mer_ray.reporting.search_values import importances_of, is_layer, parameter_title, shown_value, slices_of
from mer_ray.reporting.search_words import course_of, headline_of, p_value
from mer_ray.reporting.words import ABSENT
from mer_ray.tuning.search_folder import SearchFolder

NUM_SHOWN = 10
# Lines over fewer axes, or of fewer trials, show nothing that the table does not.
MIN_AXES, MIN_LINES = 2, 3


def write_search_page(folder: SearchFolder, path: Path) -> None:
    """Write the page atomically.

    Raises:
        RunError: the search is not complete, or its files cannot be read.

    """
    facts = folder.read_facts()
    write_text(path, render_search(facts, order_trials(folder.read_trials(), facts["objectives"])))


def render_search(facts: dict[str, Any], trials: Trials) -> str:
    """The answer first, then a question per figure."""
    tables = build_search_tables(facts, trials)
    filters = {"shown": shown_value, "parameter": parameter_title, "p_value": p_value, "device": device_title}
    figures = search_figures(tables, trials)
    heights = {name: figure.layout.height for name, figure in figures.items()}
    return page_template("search.html.jinja", filters).render(
        facts=facts,
        absent=ABSENT,
        objective=trials.objective,
        is_minimised=trials.is_minimised,
        heights=heights,
        style=own_files("page.css"),
        script=own_files("page.js"),
        plotly=plotly_script(),
        data=json_script({"facts": facts, **tables}),
        figures=figures_script(figures),
        **tables,
    )


def build_search_tables(facts: dict[str, Any], trials: Trials) -> dict[str, Any]:
    """All that the page says and draws, as plain values."""
    return {
        "headline": headline_of(facts, trials),
        "course": course_of(facts, trials),
        "history": history_of(trials),
        "importances": importances_of(facts, trials),
        "layers": layers_of(facts, trials),
        "slices": slices_of(facts, trials),
        "parallel": parallel_of(facts, trials),
        "pareto": pareto_of(trials),
        "curves": curves_of(trials),
        "costs": costs_of(facts, trials),
        "failures": failures_of(trials),
        "best": _best_rows(trials),
        "columns": [name for name, dimension in facts["dimensions"].items() if not is_layer(name, dimension)],
    }


def _best_rows(trials: Trials) -> list[dict[str, Any]]:
    return [
        {"number": one.number, "values": one.values, "seconds": one.seconds, "inputs": one.inputs, "params": one.params}
        for one in trials.complete[:NUM_SHOWN]
    ]


def search_figures(tables: dict[str, Any], trials: Trials) -> dict[str, go.Figure]:
    """Figures by the name of their place; those that would show nothing are left out."""
    objective = trials.objective
    figures = {"history": drawn.history_figure(tables["history"], objective)}
    if tables["importances"]["rows"]:
        figures["importances"] = drawn.importances_figure(tables["importances"]["rows"])
    for number, encoder in enumerate(tables["layers"]):
        figures[f"layers-{number}"] = drawn.layers_figure(encoder, objective)
    for number, one in enumerate(tables["slices"]):
        figures[f"slice-{number}"] = drawn.slice_figure(one, objective)
    if len(tables["parallel"]["axes"]) >= MIN_AXES and len(trials.complete) >= MIN_LINES:
        figures["parallel"] = drawn.parallel_figure(tables["parallel"], objective, trials.is_minimised)
    if tables["pareto"] is not None:
        figures["pareto"] = drawn.pareto_figure(tables["pareto"])
    if tables["curves"]["rows"]:
        figures["curves"] = drawn.curves_figure(tables["curves"], objective)
    if tables["costs"]["device"] is not None:
        figures["costs"] = drawn.costs_figure(tables["costs"], objective)
    return figures
