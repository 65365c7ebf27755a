"""Scores and gates on degraded media -> plotly figures."""

from typing import Any

import plotly.graph_objects as go

from mer_ray.reporting.figures import COLOURS, GREY, make_figure, wrapped
from mer_ray.reporting.words import lower_is_better, metric_title

# Of the range of all intervals, on both sides: a bar's end on the border would look cut.
MARGIN = 0.05
ROW_HEIGHT, AXES_HEIGHT = 38, 70  # pixels
GATE_HEIGHT = 300


def conditions_height(conditions: list[dict[str, Any]]) -> int:
    """Pixels of the figure of scores."""
    return AXES_HEIGHT + ROW_HEIGHT * len(conditions)


def conditions_figure(facts: dict[str, Any]) -> go.Figure:
    """A row per condition in the colour of what was degraded: dot = score, bar = interval; dashed = clean."""
    conditions, metric = facts["conditions"], facts["official"]
    figure = make_figure(conditions_height(conditions))
    for position, one in enumerate(conditions):
        colour, bounds = _colour(one), one["intervals"].get(metric)
        if bounds is not None:
            line = {"color": colour, "width": 5}
            figure.add_scatter(x=bounds, y=[position] * 2, mode="lines", line=line, opacity=0.45, hoverinfo="skip")
        figure.add_scatter(
            x=[one["official"]],
            y=[position],
            mode="markers",
            marker={"color": colour, "size": 12},
            hovertemplate=f"{one['condition']}: %{{x:.3f}}<extra></extra>",
        )
    figure.add_vline(x=conditions[0]["official"], line={"color": GREY, "width": 1.5, "dash": "dash"})
    names = [wrapped(one["condition"]) for one in conditions]
    last = len(names) - 0.4
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[last, -0.6], showgrid=False, ticklabelstandoff=8)
    figure.update_xaxes(title=f"{metric_title(metric)} ({'lower' if lower_is_better(metric) else 'higher'} is better)", nticks=7)
    figure.update_xaxes(range=_padded_range(conditions, metric))
    return figure


def _padded_range(conditions: list[dict[str, Any]], metric: str) -> list[float]:
    """From the lowest to the highest mark with room for the ends."""
    marks = [mark for one in conditions for mark in (one["official"], *(one["intervals"].get(metric) or ()))]
    spare = MARGIN * (max(marks) - min(marks)) or MARGIN
    return [min(marks) - spare, max(marks) + spare]


def gate_figure(levels: list[dict[str, Any]], label: str) -> go.Figure:
    """The mean of a model's number over the clips at each ratio, with its interval; clean at the right end."""
    figure = make_figure(GATE_HEIGHT)
    means = [one["mean"] for one in levels]
    ends = [one["interval"] or [one["mean"]] * 2 for one in levels]
    errors = {
        "symmetric": False,
        "array": [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
        "arrayminus": [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
        "color": COLOURS["audio"],
        "thickness": 2.5,
        "width": 5,
    }
    figure.add_scatter(
        x=[one["level"] for one in levels],
        y=means,
        error_y=errors,
        mode="lines+markers",
        line={"color": COLOURS["audio"], "width": 2},
        marker={"color": COLOURS["audio"], "size": 10},
        customdata=[one["num_clips"] for one in levels],
        hovertemplate="%{x}: mean %{y:.3f} of %{customdata} clips<extra></extra>",
    )
    figure.update_xaxes(title="signal to noise: noisy ← → clean", type="category")
    is_share = all(0 <= end <= 1 for pair in ends for end in pair)
    figure.update_yaxes(title=label, nticks=6, range=[-0.03, 1.03] if is_share else None)
    return figure


def _colour(one: dict[str, Any]) -> str:
    return COLOURS["fused"] if one["modality"] is None else COLOURS[one["modality"]]
