"""The content of selftrain.json -> one self-contained HTML page."""

from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import write_text
from mer_ray.reporting.page import figures_script, json_script, own_files, page_template, plotly_script
from mer_ray.reporting.selftrain_figures import (
    CURVE_HEIGHT,
    ROUNDS_HEIGHT,
    differences_figure,
    differences_height,
    histogram_figure,
    histogram_height,
    rounds_figure,
    threshold_figure,
)
from mer_ray.reporting.words import ABSENT, format_number, metric_title


def write_selftrain_page(facts: dict[str, Any], path: Path) -> None:
    """Write the page atomically."""
    write_text(path, render_selftrain(facts))


def render_selftrain(facts: dict[str, Any]) -> str:
    """Scores by round, what was selected and how right it was, votes beside each other; warnings first."""
    compared = [*facts["compared"], *(facts["equal_steps"] or [])]
    labels = {
        "compared": [f"{row['split']}: {row['of']}, {row['other']} − {row['first']}" for row in compared],
        "votes": [f"{row['split']}: {_rule(row)}" for row in facts["votes"]],
    }
    figures = {
        "rounds": rounds_figure(facts),
        "votes": differences_figure(facts["votes"], labels["votes"]),
        "compared": differences_figure(compared, labels["compared"]),
    }
    for one in facts["rounds"]:
        if one["pseudo"] is not None:
            figures[f"histogram-{one['number']}"] = histogram_figure(one["pseudo"], facts["classes"])
            figures[f"threshold-{one['number']}"] = threshold_figure(one["pseudo"])
    return page_template("selftrain.html.jinja", {}).render(
        facts=facts,
        compared=list(zip(labels["compared"], compared, strict=True)),
        votes=list(zip(labels["votes"], facts["votes"], strict=True)),
        headline=headline_of(facts),
        absent=ABSENT,
        heights={
            "rounds": ROUNDS_HEIGHT,
            "threshold": CURVE_HEIGHT,
            "histogram": histogram_height(facts["classes"]),
            "votes": differences_height(facts["votes"]),
            "compared": differences_height(compared),
        },
        style=own_files("page.css"),
        script=own_files("page.js"),
        plotly=plotly_script(),
        data=json_script(facts),
        figures=figures_script(figures),
    )


def _rule(row: dict[str, Any]) -> str:
    return f"{row['rule'].replace('_', ' ')}{', estimated prior' if row['prior'] == 'em' else ''}"


def headline_of(facts: dict[str, Any]) -> str:
    """What the best round gained, and against what that was measured."""
    best = facts["best_round"]
    if best == 0:
        return "No round is better than the teachers on dev: their models are in the bundle."
    rows = facts["equal_steps"] or [row for row in facts["compared"] if row["first"] == "round 0" and row["other"] == f"round {best}"]
    shown = [row for row in rows if row["of"] == "vote" and row["split"] != "dev"] or [row for row in rows if row["of"] == "vote"]
    parts = []
    for row in shown:
        low, high = row["interval"] or (0.0, 0.0)
        sure = "" if low <= 0 <= high else ", more than chance"
        shown_bounds = f" [{format_number(low)}, {format_number(high)}]" if row["interval"] else ""
        parts.append(f"{row['split']} {format_number(row['difference'])}{shown_bounds}{sure}")
    against = "teachers trained for as many steps" if facts["equal_steps"] else "teachers (not trained longer: set compare_equal_steps)"
    return f"Round {best} is the best on dev. Its vote in {metric_title(facts['metric'])} minus that of the {against}: {'; '.join(parts)}."
