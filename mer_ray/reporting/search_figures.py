"""Numbers of a search -> plotly figures."""

from typing import Any

import plotly.graph_objects as go

from mer_ray.reporting.figures import COLOURS, GREY, NUM_TICKS, colour_of, make_figure, wrapped
from mer_ray.reporting.search_costs import device_title
from mer_ray.reporting.search_values import parameter_title, shown_value
from mer_ray.reporting.words import metric_title

HISTORY_HEIGHT = CURVES_HEIGHT = PARETO_HEIGHT = COSTS_HEIGHT = 340
SLICE_HEIGHT = 250
PARALLEL_HEIGHT = 360
AXES_HEIGHT, ROW_HEIGHT, LAYER_HEIGHT = 70, 26, 30  # pixels
# Bad to good; both ends read on white and on black.
SCALE = [[0, COLOURS["audio"]], [0.5, GREY], [1, COLOURS["vision"]]]
BEST = COLOURS["vision"]
OTHER = COLOURS["audio"]
LABEL_LENGTH = 34
MANY_POWERS, NUM_MARKS = 100, 4
# More names would lie upon each other; a line through a front of three objectives would go to and fro.
MAX_NAMED, MAX_JOINED = 15, 2


def rows_height(num_rows: int, row_height: int = ROW_HEIGHT) -> int:
    """Pixels of a figure with a row per thing."""
    return AXES_HEIGHT + row_height * num_rows


def history_figure(history: dict[str, Any], objective: str) -> go.Figure:
    """Dot = complete trial, ring = pruned one at its last score, line = the best so far."""
    figure = make_figure(HISTORY_HEIGHT)
    rows = history["rows"]
    line = {"color": BEST, "width": 2, "shape": "hv"}
    figure.add_scatter(
        x=[row["number"] for row in rows], y=[row["best"] for row in rows], mode="lines", line=line, hoverinfo="skip", name="best"
    )
    markers = {
        "pruned": {"color": GREY, "size": 7, "symbol": "circle-open"},
        "complete": {"color": OTHER, "size": 9},
    }
    for state, marker in markers.items():
        some = [row for row in rows if row["state"] == state]
        figure.add_scatter(
            x=[row["number"] for row in some],
            y=[row["score"] for row in some],
            mode="markers",
            marker=marker,
            name=state,
            hovertemplate=f"trial %{{x}}, {state}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title="trial", nticks=8)
    figure.update_yaxes(title=metric_title(objective), nticks=6)
    return figure


def importances_figure(rows: list[dict[str, Any]]) -> go.Figure:
    """A bar per parameter."""
    figure = make_figure(rows_height(len(rows)), bargap=0.3)
    figure.add_bar(
        x=[row["share"] for row in rows],
        y=list(range(len(rows))),
        customdata=[parameter_title(row["name"]) for row in rows],
        orientation="h",
        marker={"color": OTHER, "line": {"width": 0}},
        hovertemplate="%{customdata}: %{x:.1%}<extra></extra>",
    )
    names = [shortened(parameter_title(row["name"])) for row in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.4, -0.6], showgrid=False, ticklabelstandoff=6)
    figure.update_xaxes(title="share of the variance", tickformat=".0%", rangemode="tozero", nticks=4, tickangle=0)
    return figure


def layers_figure(encoder: dict[str, Any], objective: str) -> go.Figure:
    """A row per layer: dot = mean score of trials with it, ring = without it."""
    rows, colour = encoder["rows"], COLOURS[encoder["modality"]]
    figure = make_figure(rows_height(len(rows), LAYER_HEIGHT))
    gaps: dict[str, list[Any]] = {"x": [], "y": []}
    for place, row in enumerate(rows):
        if row["with"] is not None and row["without"] is not None:
            gaps["x"] += [row["without"], row["with"], None]
            gaps["y"] += [place, place, None]
    figure.add_scatter(**gaps, mode="lines", line={"color": colour, "width": 4}, opacity=0.4, hoverinfo="skip", name="difference")
    markers = {"without": {"color": GREY, "size": 9, "symbol": "circle-open"}, "with": {"color": colour, "size": 12}}
    for kind, marker in markers.items():
        some = [(place, row) for place, row in enumerate(rows) if row[kind] is not None]
        figure.add_scatter(
            x=[row[kind] for _, row in some],
            y=[place for place, _ in some],
            mode="markers",
            marker={**marker, "line": {"width": 2, "color": marker["color"]}},
            name=kind,
            customdata=[[row["layer"], row[f"num_{kind}"]] for _, row in some],
            hovertemplate=f"{kind} %{{customdata[0]}}: mean %{{x:.3f}} of %{{customdata[1]}} trials<extra></extra>",
        )
    names = [f"{row['layer']} · {row['num_in_top']} of {encoder['num_top']}" for row in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.4, -0.6], showgrid=False, ticklabelstandoff=8)
    figure.update_xaxes(title=f"mean {metric_title(objective)}", nticks=6)
    return figure


def slice_figure(one: dict[str, Any], objective: str) -> go.Figure:
    """A dot per complete trial, the best one marked: value against score, options as rows."""
    points, is_choice = one["points"], one["kind"] == "choice"
    height = rows_height(len(one["options"]), LAYER_HEIGHT) if is_choice else SLICE_HEIGHT
    figure = make_figure(height)
    title = metric_title(objective)
    # The best is drawn last, on top.
    for some, marker in ((points[1:], {"color": OTHER, "size": 8, "opacity": 0.7}), (points[:1], {"color": BEST, "size": 12})):
        values = [wrapped(shown_value(point["value"])) if is_choice else point["value"] for point in some]
        scores = [point["score"] for point in some]
        hover = "trial %{customdata}: %{x}, %{y:.3f}" if not is_choice else "trial %{customdata}: %{y}, %{x:.3f}"
        x, y = (scores, values) if is_choice else (values, scores)
        numbers = [point["number"] for point in some]
        figure.add_scatter(x=x, y=y, mode="markers", marker=marker, customdata=numbers, hovertemplate=f"{hover}<extra></extra>")
    if is_choice:
        options = [wrapped(shown_value(option)) for option in one["options"]]
        figure.update_yaxes(type="category", categoryorder="array", categoryarray=options[::-1], range=[-0.6, len(options) - 0.4])
        figure.update_xaxes(title=title, nticks=6)
    else:
        axis = _log_axis(one["low"], one["high"]) if one["log"] else {"nticks": 6}
        figure.update_xaxes(title=shortened(one["name"]), **axis)
        figure.update_yaxes(title=title, nticks=6)
    return figure


def _log_axis(low: float, high: float) -> dict[str, Any]:
    """Marks at powers of ten; where there are few of them, at equal distances."""
    if high / low >= MANY_POWERS:
        return {"type": "log", "dtick": 1, "exponentformat": "none"}
    marks = [low * (high / low) ** (step / NUM_MARKS) for step in range(NUM_MARKS + 1)]
    return {"type": "log", "tickvals": marks, "ticktext": [shown_value(float(mark)) for mark in marks]}


def parallel_figure(parallel: dict[str, Any], objective: str, is_minimised: bool) -> go.Figure:
    """A line per complete trial over the axes, in the colour of its score."""
    figure = make_figure(PARALLEL_HEIGHT)
    scores = parallel["scores"]
    axes = [
        {"label": wrapped(parameter_title(axis["name"])), "values": axis["places"], "tickvals": axis["marks"], "ticktext": axis["texts"]}
        for axis in parallel["axes"]
    ]
    for axis in axes:
        axis["range"] = [min(axis["tickvals"]), max(axis["tickvals"])]
    figure.add_parcoords(
        dimensions=[*axes, {"label": metric_title(objective), "values": scores, "tickformat": ".3f"}],
        line={"color": scores, "colorscale": SCALE, "reversescale": is_minimised, "cmin": min(scores), "cmax": max(scores)},
        labelside="bottom",
    )
    figure.update_layout(margin={"l": 60, "r": 60, "t": 24, "b": 60})
    return figure


def pareto_figure(pareto: dict[str, Any]) -> go.Figure:
    """First objective against the second; the front is named."""
    figure = make_figure(PARETO_HEIGHT)
    first, second = list(pareto["objectives"])[:2]
    num_front = sum(row["is_front"] for row in pareto["rows"])
    parts = [*(["lines"] if len(pareto["objectives"]) <= MAX_JOINED else []), *(["text"] if num_front <= MAX_NAMED else [])]
    for is_front, marker in ((False, {"color": GREY, "size": 8, "symbol": "circle-open"}), (True, {"color": BEST, "size": 12})):
        some = sorted((row for row in pareto["rows"] if row["is_front"] is is_front), key=lambda row: float(row["values"][second]))
        figure.add_scatter(
            x=[row["values"][second] for row in some],
            y=[row["values"][first] for row in some],
            mode="+".join(["markers", *parts]) if is_front else "markers",
            line={"color": BEST, "width": 1.5, "dash": "dot"},
            marker=marker,
            text=[str(row["number"]) for row in some] if is_front else None,
            textposition="top center",
            customdata=[row["number"] for row in some],
            name="front" if is_front else "beaten",
            hovertemplate="trial %{customdata}: %{y:.3f}, %{x:.4g}<extra></extra>",
        )
    figure.update_xaxes(title=_with_direction(second, pareto["objectives"]), nticks=6)
    figure.update_yaxes(title=_with_direction(first, pareto["objectives"]), nticks=6)
    return figure


def curves_figure(curves: dict[str, Any], objective: str) -> go.Figure:
    """Score by step: grey = pruned, thin = complete, bold = the best."""
    figure = make_figure(CURVES_HEIGHT)
    kinds = {"pruned": (GREY, 1.0, 0.6), "complete": (OTHER, 1.5, 0.7), "best": (BEST, 3.0, 1.0)}
    for kind, (colour, width, opacity) in kinds.items():
        some = [row for row in curves["rows"] if _kind(row, curves["best"]) == kind]
        line: dict[str, list[Any]] = {"x": [], "y": [], "customdata": []}
        for row in some:
            # A gap between trials: one trace for hundreds of them.
            line["x"] += [*row["steps"], None]
            line["y"] += [*row["scores"], None]
            line["customdata"] += [row["number"]] * (len(row["steps"]) + 1)
        figure.add_scatter(
            **line,
            mode="lines+markers",
            line={"color": colour, "width": width},
            marker={"color": colour, "size": 4 + width},
            opacity=opacity,
            name=kind,
            hovertemplate="trial %{customdata}, step %{x}: %{y:.3f}<extra></extra>",
        )
    last = max(max(row["steps"]) for row in curves["rows"])
    figure.update_xaxes(title="step", range=[0.7, last + 0.3], **({"dtick": 1, "tick0": 1} if last <= NUM_TICKS else {"nticks": NUM_TICKS}))
    figure.update_yaxes(title=metric_title(objective), nticks=6)
    return figure


def _kind(row: dict[str, Any], best: int) -> str:
    return "best" if row["number"] == best else str(row["state"])


def costs_figure(costs: dict[str, Any], objective: str) -> go.Figure:
    """A dot per set of encoders with its number: the milliseconds that a clip takes against the best score."""
    figure = make_figure(COSTS_HEIGHT)
    for number, row in enumerate(costs["rows"], start=1):
        names = " + ".join(row["encoders"])
        figure.add_scatter(
            x=[row["milliseconds"]],
            y=[row["score"]],
            mode="markers+text",
            marker={"color": colour_of(row["modalities"]), "size": 12},
            opacity=1 if row["is_front"] else 0.5,
            text=[str(number)],
            textposition="top center",
            cliponaxis=False,
            name=names,
            hovertemplate=f"trial {row['number']}: %{{y:.3f}}, %{{x:.3g}} ms<extra>{names}</extra>",
        )
    figure.update_xaxes(title=f"encoding a clip: milliseconds of {device_title(costs['device'])}", nticks=6, rangemode="tozero")
    figure.update_yaxes(title=f"best {metric_title(objective)}", nticks=6)
    return figure


def shortened(name: str, length: int = LABEL_LENGTH) -> str:
    """The end of a dotted name, which tells it from others."""
    return name if len(name) <= length else f"…{name[-length + 1 :]}"


def _with_direction(objective: str, directions: dict[str, str]) -> str:
    return f"{metric_title(objective)} ({'lower' if directions[objective] == 'minimize' else 'higher'} is better)"
