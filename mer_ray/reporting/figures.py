"""Tables -> plotly figures. Text and grid colours come from the page (light or dark); data colours stand in `COLOURS`."""

import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mer_ray.reporting.words import format_number, lower_is_better, metric_title

# Blue, vermilion, green, purple after Okabe and Ito, of a lightness that reads on white and on black.
COLOURS = {"audio": "#2f87d0", "vision": "#d9660a", "text": "#0f9d74", "fused": "#b566a3"}
GREY = "#828b98"
LABEL_WIDTH = 16
NUM_TICKS = 8
RUNS_MARGIN, RUN_HEIGHT = 70, 56  # pixels


def colour_of(modalities: Sequence[str]) -> str:
    """The modality's colour; `fused` for several."""
    return COLOURS[modalities[0] if len(modalities) == 1 else "fused"]


def make_figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure without title, legend or zero lines."""
    figure = go.Figure()
    figure.update_layout(
        template="none", height=height, margin={"l": 8, "r": 16, "t": 12, "b": 8}, showlegend=False, hovermode="closest", **layout
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure


def wrapped(name: str) -> str:
    """A name on at most three short lines."""
    return "<br>".join(textwrap.wrap(name, LABEL_WIDTH)[:3])


def runs_figure(summary: list[dict[str, Any]], metric: str) -> go.Figure:
    """A row per run: large dot = mean over seeds, diamond = seeds together, bar = interval, small dots = seeds, dashed line = ceiling."""
    figure = make_figure(RUNS_MARGIN + RUN_HEIGHT * len(summary))
    for position, row in enumerate(summary):
        score, colour = row["scores"][metric], colour_of(row["modalities"])
        if score["low"] is not None:
            ends = {"x": [score["low"], score["high"]], "y": [position] * 2}
            figure.add_scatter(**ends, mode="lines", line={"color": colour, "width": 5}, opacity=0.45, hoverinfo="skip")
        seeds = [value for value in score["per_seed"] if value is not None]
        if len(seeds) > 1:
            marker = {"color": colour, "size": 6, "opacity": 0.75, "symbol": "circle-open"}
            figure.add_scatter(
                x=seeds, y=[position + 0.24] * len(seeds), mode="markers", marker=marker, hovertemplate="one seed: %{x:.3f}<extra></extra>"
            )
        marker = {"color": colour, "size": 14}
        label = {"text": [format_number(score["mean"])], "textposition": "top center", "cliponaxis": False}
        hover = f"mean: %{{x:.3f}}<extra>{row['name']}</extra>"
        figure.add_scatter(x=[score["mean"]], y=[position], mode="markers+text", marker=marker, hovertemplate=hover, **label)
        together = row["ensemble"].get(metric)
        if together is not None:
            marker = {"color": colour, "size": 11, "symbol": "diamond-open", "line": {"width": 2}}
            hover = "seeds together: %{x:.3f}<extra></extra>"
            figure.add_scatter(x=[together["mean"]], y=[position], mode="markers", marker=marker, hovertemplate=hover)
        if row["ceiling"] is not None:
            line = {"color": GREY, "width": 2, "dash": "5px,3px"}
            figure.add_scatter(
                x=[row["ceiling"]] * 2,
                y=[position - 0.42, position + 0.42],
                mode="lines",
                line=line,
                hovertemplate="ceiling: %{x:.3f}<extra></extra>",
            )
    names = [wrapped(row["name"]) for row in summary]
    figure.update_yaxes(
        tickvals=list(range(len(summary))), ticktext=names, range=[len(summary) - 0.4, -0.6], showgrid=False, ticklabelstandoff=8
    )
    marks = [value for row in summary for value in _marks(row, metric)]
    spare = 0.04 * (max(marks) - min(marks)) or 0.05
    figure.update_xaxes(range=[min(marks) - spare, max(marks) + spare])
    figure.update_xaxes(title=f"{metric_title(metric)} ({'lower' if lower_is_better(metric) else 'higher'} is better)", nticks=7)
    return figure


def _marks(row: dict[str, Any], metric: str) -> list[float]:
    score = row["scores"][metric]
    together = row["ensemble"].get(metric, {}).get("mean")
    marks = (score["mean"], score["low"], score["high"], row["ceiling"], together, *score["per_seed"])
    return [value for value in marks if value is not None]


def curve_figure(curve: dict[str, Any], title: str, colour: str) -> go.Figure:
    """Thin lines = single trainings, bold line = their mean, band = one standard deviation."""
    figure = make_figure(270)
    for member in curve["members"]:
        if len(curve["members"]) > 1:
            who = f"seed {member['seed']}" + ("" if member["fold"] is None else f", fold {member['fold']}")
            line = {"color": GREY, "width": 1}
            figure.add_scatter(x=member["epochs"], y=member["values"], mode="lines", line=line, opacity=0.35, name=who, hoverinfo="skip")
    epochs, mean, std = curve["epochs"], curve["mean"], curve["std"]
    if len(curve["members"]) > 1:
        band = [m + s for m, s in zip(mean, std, strict=True)] + [m - s for m, s in zip(mean[::-1], std[::-1], strict=True)]
        figure.add_scatter(
            x=epochs + epochs[::-1],
            y=band,
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor=colour,
            opacity=0.22,
            hoverinfo="skip",
        )
    mode = "lines+markers" if len(epochs) < 3 else "lines"
    hover = "epoch %{x}: %{y:.3f}<extra></extra>"
    figure.add_scatter(x=epochs, y=mean, mode=mode, line={"color": colour, "width": 3}, marker={"size": 8}, hovertemplate=hover)
    mark_epochs(figure, epochs)
    figure.update_yaxes(title=title, nticks=6)
    return figure


def mark_epochs(figure: go.Figure, epochs: list[int]) -> None:
    """Name the axis and mark whole epochs, also where there are few."""
    few = {"dtick": 1, "range": [min(epochs) - 0.5, max(epochs) + 0.5]} if len(epochs) <= NUM_TICKS else {"nticks": NUM_TICKS}
    figure.update_xaxes(title="epoch", **few)


def attention_figure(attention: dict[str, Any]) -> go.Figure:
    """A bar per class, divided by stream; streams of one modality share its colour, the later ones fainter."""
    rows = attention["rows"]
    figure = make_figure(70 + 38 * len(rows), barmode="stack", bargap=0.25)
    figure.update_layout(margin={"r": 28})
    seen: dict[str, int] = {}
    for stream, (name, modality) in enumerate(zip(attention["names"], attention["modalities"], strict=True)):
        weights = [row["weights"][stream] for row in rows]
        nth = seen[modality] = seen.get(modality, -1) + 1
        figure.add_bar(
            x=weights,
            y=[wrapped(row["class"]) for row in rows],
            orientation="h",
            name=name,
            marker={"color": COLOURS[modality], "line": {"width": 0}},
            opacity=max(0.35, 1 - 0.25 * nth),
            text=[f"{100 * weight:.0f} %" if weight >= 0.08 else "" for weight in weights],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": "white"},
            textangle=0,
            hovertemplate=f"{name}, %{{y}}: %{{x:.1%}}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=6)
    figure.update_xaxes(title="share of attention", range=[0, 1], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    return figure


def value_figure(points: dict[str, Any], colour: str) -> go.Figure:
    """Label against prediction, one dot per clip; on the dashed line they agree."""
    figure = make_figure(380)
    every = [*points["labels"], *points["predictions"]]
    low, high = min(every), max(every)
    line = {"color": GREY, "width": 1.5, "dash": "dash"}
    figure.add_scatter(x=[low, high], y=[low, high], mode="lines", line=line, hoverinfo="skip")
    figure.add_scatter(
        x=points["labels"],
        y=points["predictions"],
        mode="markers",
        marker={"color": colour, "size": 7, "opacity": 0.55},
        text=points["clip_ids"],
        hovertemplate="%{text}<br>label %{x:.2f}<br>prediction %{y:.2f}<extra></extra>",
    )
    figure.update_xaxes(title=f"{points['name']}: label", nticks=7)
    figure.update_yaxes(title=f"{points['name']}: prediction", nticks=7)
    return figure
