"""Scores of pooled layers -> plotly figures."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mer_ray.reporting.figures import COLOURS, GREY, make_figure, wrapped
from mer_ray.reporting.words import lower_is_better, metric_title

ROW_HEIGHT, AXES_HEIGHT, BAR_HEIGHT = 46, 130, 34  # pixels
# Of the range of all intervals, on both sides: a bar's end on the border would look cut.
MARGIN = 0.05
# Numbers are written into cells of this width or more.
MAX_LAYERS_WITH_NUMBERS = 26


def atlas_height(entries: Sequence[dict[str, Any]]) -> int:
    """Pixels of a heat map: a row per encoder."""
    return AXES_HEIGHT + ROW_HEIGHT * len({one["encoder"] for one in entries})


def atlas_figure(entries: Sequence[dict[str, Any]], pooling: str, metric: str) -> go.Figure:
    """A row per encoder, a column per layer in depth order, the colour its score; all poolings share one scale."""
    encoders = list(dict.fromkeys(one["encoder"] for one in sorted(entries, key=lambda one: (one["modality"], one["encoder"]))))
    num_layers = 1 + max(one["number"] for one in entries)
    scores: list[list[float | None]] = [[None] * num_layers for _ in encoders]
    names = [[""] * num_layers for _ in encoders]
    for one in entries:
        if one["pooling"] == pooling:
            scores[encoders.index(one["encoder"])][one["number"]] = one["scores"].get(metric)
            names[encoders.index(one["encoder"])][one["number"]] = one["layer"]
    every = [one["scores"][metric] for one in entries if metric in one["scores"]]
    figure = make_figure(atlas_height(entries))
    figure.add_heatmap(
        z=scores,
        x=list(range(num_layers)),
        y=[wrapped(name) for name in _labels(encoders)],
        customdata=names,
        zmin=min(every),
        zmax=max(every),
        colorscale="Cividis",
        reversescale=lower_is_better(metric),
        xgap=2,
        ygap=2,
        texttemplate="%{z:.2f}" if num_layers <= MAX_LAYERS_WITH_NUMBERS else None,
        hoverongaps=False,
        hovertemplate="%{y}, %{customdata}: %{z:.3f}<extra></extra>",
        colorbar={"title": {"text": metric_title(metric), "side": "right"}, "thickness": 14},
    )
    figure.update_xaxes(title="layer, from the input to the output", dtick=max(1, num_layers // 12), showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=6)
    return figure


def _labels(encoders: Sequence[str]) -> list[str]:
    """Names, with the identity where two share one."""
    names = [key.partition("@")[0] for key in encoders]
    return [name if names.count(name) == 1 else key for name, key in zip(names, encoders, strict=True)]


def leaders_height(leaders: Sequence[dict[str, Any]]) -> int:
    """Pixels of the figure of the first candidates."""
    return AXES_HEIGHT // 2 + BAR_HEIGHT * len(leaders)


def leaders_figure(leaders: Sequence[dict[str, Any]], metric: str, chance: float | None) -> go.Figure:
    """A row per candidate in the colour of its modality: dot = score, filled where it is level with the best; bar = interval."""
    figure = make_figure(leaders_height(leaders))
    for position, one in enumerate(leaders):
        colour = COLOURS[one["modality"]]
        if one["interval"] is not None:
            line = {"color": colour, "width": 5}
            figure.add_scatter(x=one["interval"], y=[position] * 2, mode="lines", line=line, opacity=0.45, hoverinfo="skip")
        figure.add_scatter(
            x=[one["scores"][metric]],
            y=[position],
            mode="markers",
            marker={"color": colour, "size": 12, "symbol": "circle" if one["is_level"] else "circle-open", "line": {"width": 2}},
            hovertemplate=f"{describe(one)}: %{{x:.3f}}<extra></extra>",
        )
    marks = [mark for one in leaders for mark in (one["scores"][metric], *(one["interval"] or ()))]
    if chance is not None:
        marks.append(chance)
        figure.add_vline(x=chance, line={"color": GREY, "width": 1.5, "dash": "dash"})
    spare = MARGIN * (max(marks) - min(marks)) or MARGIN
    names = [describe(one) for one in leaders]
    last = len(names) - 0.4
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[last, -0.6], showgrid=False, ticklabelstandoff=8)
    better = "lower" if lower_is_better(metric) else "higher"
    figure.update_xaxes(title=f"{metric_title(metric)} ({better} is better)", range=[min(marks) - spare, max(marks) + spare], nticks=7)
    return figure


def describe(one: dict[str, Any]) -> str:
    """A candidate in one line."""
    return f"{one['name']} {one['layer']}, {one['pooling']}"
