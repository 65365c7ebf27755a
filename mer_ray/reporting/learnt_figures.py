"""What a model learnt -> plotly figures: values of emotions, terms of the loss over epochs, gates by emotion and against noise."""

from typing import Any

import plotly.graph_objects as go

from mer_ray.reporting.figures import GREY, make_figure, mark_epochs, wrapped

# Terms are no modalities, so they have colours of their own; of a lightness that reads on white and on black.
TERM_COLOURS = ("#b566a3", "#b08800", "#2a9aa8", "#7d78d8", "#c25b5b", "#828b98")
ROW_HEIGHT, AXES_HEIGHT = 38, 70  # pixels
TERMS_HEIGHT, NOISE_HEIGHT = 290, 320


def rows_height(rows: list[dict[str, Any]]) -> int:
    """Pixels of a figure with a row for each."""
    return AXES_HEIGHT + ROW_HEIGHT * len(rows)


def class_values_figure(table: dict[str, Any], colour: str) -> go.Figure:
    """A row per emotion: dot = learnt, bar = one deviation over the trainings, rings = trainings, diamond = mean of the labels."""
    rows = table["rows"]
    figure = make_figure(rows_height(rows))
    names = [wrapped(row["class"]) for row in rows]
    for position, row in enumerate(rows):
        if row["std"] is not None:
            ends = {"x": [row["mean"] - row["std"], row["mean"] + row["std"]], "y": [position] * 2}
            figure.add_scatter(**ends, mode="lines", line={"color": colour, "width": 5}, opacity=0.45, hoverinfo="skip")
            marker = {"color": colour, "size": 6, "opacity": 0.6, "symbol": "circle-open"}
            fits = row["fits"]
            figure.add_scatter(
                x=[fit["value"] for fit in fits],
                y=[position + 0.26] * len(fits),
                mode="markers",
                marker=marker,
                text=[f"seed {fit['seed']}" + ("" if fit["fold"] is None else f", fold {fit['fold']}") for fit in fits],
                hovertemplate="%{text}: %{x:.2f}<extra></extra>",
            )
    figure.add_scatter(
        x=[row["mean"] for row in rows],
        y=list(range(len(rows))),
        mode="markers",
        marker={"color": colour, "size": 12},
        text=[row["class"] for row in rows],
        hovertemplate="learnt for %{text}: %{x:.2f}<extra></extra>",
    )
    known = [(position, row) for position, row in enumerate(rows) if row["data"] is not None]
    figure.add_scatter(
        x=[row["data"] for _, row in known],
        y=[position for position, _ in known],
        mode="markers",
        marker={"color": GREY, "size": 13, "symbol": "diamond-open", "line": {"width": 2.5}},
        text=[row["class"] for _, row in known],
        hovertemplate="labels of %{text}: %{x:.2f}<extra></extra>",
    )
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.4, -0.6], showgrid=False, ticklabelstandoff=8)
    figure.update_xaxes(title=table["name"], nticks=8)
    return figure


def steps_figures(steps: list[dict[str, Any]], title: str, zero: bool = False) -> list[go.Figure]:
    """Of each step a line per term of its loss over epochs, on one scale; `zero` draws that level."""
    ends = [mean + sign * std for step in steps for term in step["terms"] for mean, std in _line(term) for sign in (-1, 1)]
    low, high = min(ends + [0.0] * zero), max(ends + [0.0] * zero)
    spare = 0.04 * (high - low) or 0.05
    return [_terms_figure(step["terms"], title, [low - spare, high + spare], zero) for step in steps]


def _line(term: dict[str, Any]) -> list[tuple[float, float]]:
    return list(zip(term["mean"], term["std"], strict=True))


def _terms_figure(terms: list[dict[str, Any]], title: str, scale: list[float], zero: bool) -> go.Figure:
    """A line per term: the mean of the trainings, with one deviation around it."""
    figure = make_figure(TERMS_HEIGHT)
    for number, term in enumerate(terms):
        colour, name = TERM_COLOURS[number % len(TERM_COLOURS)], term["term"].replace("_", " ")
        epochs, mean = term["epochs"], term["mean"]
        if len(term["members"]) > 1:
            band = [m + s for m, s in _line(term)] + [m - s for m, s in _line(term)[::-1]]
            area = {"fill": "toself", "fillcolor": colour, "line": {"width": 0}, "opacity": 0.22, "hoverinfo": "skip"}
            figure.add_scatter(x=epochs + epochs[::-1], y=band, mode="lines", legendgroup=name, showlegend=False, **area)
        mode = "lines+markers" if len(epochs) < 3 else "lines"
        hover = f"{name}, epoch %{{x}}: %{{y:.3f}}<extra></extra>"
        line = {"color": colour, "width": 3}
        figure.add_scatter(x=epochs, y=mean, mode=mode, name=name, legendgroup=name, line=line, hovertemplate=hover)
    if zero:
        figure.add_hline(y=0, line={"color": GREY, "width": 1.5, "dash": "dash"})
    figure.update_layout(showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    mark_epochs(figure, terms[0]["epochs"])
    figure.update_yaxes(title=title, nticks=6, range=scale)
    return figure


def fact_figure(table: dict[str, Any], colour: str) -> go.Figure:
    """A box per emotion: half of its clips and their median; the line holds 90 % of them, the dot is the mean."""
    rows = table["rows"]
    figure = make_figure(rows_height(rows))
    names = [wrapped(row["class"]) for row in rows]
    figure.add_box(
        y=names,
        orientation="h",
        lowerfence=[row["low"] for row in rows],
        q1=[row["lower"] for row in rows],
        median=[row["middle"] for row in rows],
        q3=[row["upper"] for row in rows],
        upperfence=[row["high"] for row in rows],
        line={"color": colour, "width": 2},
        whiskerwidth=0.4,
        width=0.55,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[row["mean"] for row in rows],
        y=names,
        mode="markers",
        marker={"color": colour, "size": 8},
        customdata=[row["num_clips"] for row in rows],
        hovertemplate="%{y}: mean %{x:.3f} of %{customdata} clips<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=8)
    figure.update_xaxes(title=table["label"], nticks=8, range=_unit_range([row[end] for row in rows for end in ("low", "high")]))
    return figure


def noise_figure(table: dict[str, Any], colour: str) -> go.Figure:
    """Faint dots = clips; a large dot per bin = the mean of as many clips, with its interval."""
    noise = table["noise"]
    points, bins = noise["points"], noise["bins"]
    figure = make_figure(NOISE_HEIGHT)
    figure.add_scatter(
        x=points["snr"],
        y=points["values"],
        mode="markers",
        marker={"color": GREY, "size": 5, "opacity": 0.35},
        text=points["clip_ids"],
        hovertemplate="%{text}<br>%{x:.1f} dB, %{y:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=[one["snr"] for one in bins],
        y=[one["mean"] for one in bins],
        error_y={
            "symmetric": False,
            "array": [one["mean_high"] - one["mean"] for one in bins],
            "arrayminus": [one["mean"] - one["mean_low"] for one in bins],
            "color": colour,
            "thickness": 2.5,
            "width": 5,
        },
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 10},
        customdata=[one["num_clips"] for one in bins],
        hovertemplate="%{x:.1f} dB: mean %{y:.3f} of %{customdata} clips<extra></extra>",
    )
    figure.update_xaxes(title="signal to noise (dB): noisy ← → clean", nticks=8)
    figure.update_yaxes(title=table["label"], nticks=6, range=_unit_range(points["values"]))
    return figure


def _unit_range(values: list[float]) -> list[float] | None:
    """From 0 to 1 for what lies there, as gates do, so that small changes look small."""
    return [-0.03, 1.03] if values and min(values) >= 0 and max(values) <= 1 else None
