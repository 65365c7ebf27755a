"""Rounds, thresholds and votes of a self-training -> plotly figures."""

import itertools
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mer_ray.reporting.figures import COLOURS, GREY, make_figure
from mer_ray.reporting.words import metric_title

ROUNDS_HEIGHT, CURVE_HEIGHT, HISTOGRAM_HEIGHT = 320, 320, 150  # pixels
ROW_HEIGHT, AXES_HEIGHT = 30, 70
NUM_COLUMNS = 3
SPLIT_COLOURS = (COLOURS["fused"], COLOURS["audio"], COLOURS["vision"], COLOURS["text"])
CURVES = {"precision": COLOURS["audio"], "coverage": COLOURS["vision"], "weighted_f1": COLOURS["text"]}


def rounds_figure(facts: dict[str, Any]) -> go.Figure:
    """The vote's score of each round, a line per split, bars = 95 % intervals."""
    figure, metric = make_figure(ROUNDS_HEIGHT), facts["metric"]
    for number, split in enumerate(facts["splits"]):
        rows = [(one["number"], one["scores"][split]) for one in facts["rounds"] if metric in one["scores"].get(split, {}).get("vote", {})]
        scores = [row["vote"][metric] for _, row in rows]
        ends = [row["interval"].get(metric) or [score] * 2 for (_, row), score in zip(rows, scores, strict=True)]
        colour = SPLIT_COLOURS[number % len(SPLIT_COLOURS)]
        figure.add_scatter(
            x=[number for number, _ in rows],
            y=scores,
            name=split,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": "dot" if split == "dev" else "solid"},
            marker={"color": colour, "size": 9},
            error_y={
                "symmetric": False,
                "array": [high - score for (_, high), score in zip(ends, scores, strict=True)],
                "arrayminus": [score - low for (low, _), score in zip(ends, scores, strict=True)],
                "color": colour,
                "thickness": 1.5,
                "width": 4,
            },
            hovertemplate=f"{split}, round %{{x}}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title="round", dtick=1)
    figure.update_yaxes(title=metric_title(metric), nticks=6)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.15})
    return figure


def histogram_height(classes: list[str]) -> int:
    """Pixels of the figure of confidences."""
    return AXES_HEIGHT + HISTOGRAM_HEIGHT * -(-len(classes) // NUM_COLUMNS)


def histogram_figure(pseudo: dict[str, Any], classes: list[str]) -> go.Figure:
    """How sure the vote is of unlabelled clips, by chosen class: grey all, coloured the selected; dashed = threshold."""
    figure = make_subplots(rows=-(-len(classes) // NUM_COLUMNS), cols=min(NUM_COLUMNS, len(classes)), subplot_titles=classes)
    edges = pseudo["histogram"]["edges"]
    centres = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    for number, name in enumerate(classes):
        place = {"row": number // NUM_COLUMNS + 1, "col": number % NUM_COLUMNS + 1}
        counts = pseudo["histogram"]["classes"][name]
        for kind, colour in (("all", GREY), ("selected", COLOURS["text"])):
            hover = f"{name}, {kind}: %{{y}} clips at %{{x:.2f}}<extra></extra>"
            figure.add_bar(x=centres, y=counts[kind], marker_color=colour, width=edges[1] - edges[0], hovertemplate=hover, **place)
        if pseudo["thresholds"][name] is not None:
            figure.add_vline(x=pseudo["thresholds"][name], line={"color": COLOURS["vision"], "width": 1.5, "dash": "dash"}, **place)
    figure.update_layout(
        template="none", barmode="overlay", showlegend=False, height=histogram_height(classes), margin={"l": 8, "r": 16, "t": 28, "b": 8}
    )
    figure.update_xaxes(range=[0, 1], automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False, nticks=4)
    return figure


def threshold_figure(pseudo: dict[str, Any]) -> go.Figure:
    """Precision, coverage and weighted F1 of the labels above one threshold for all; solid = the unlabelled part, dotted = dev."""
    figure = make_figure(CURVE_HEIGHT)
    for where, dash in (("curve_truth", "solid"), ("curve_dev", "dot")):
        for key, colour in CURVES.items():
            rows = [row for row in pseudo[where] or [] if row[key] is not None]
            name = f"{metric_title(key)}, {'dev' if where == 'curve_dev' else 'unlabelled'}"
            figure.add_scatter(
                x=[row["threshold"] for row in rows],
                y=[row[key] for row in rows],
                name=name,
                mode="lines",
                line={"color": colour, "width": 2, "dash": dash},
                hovertemplate=f"{name} above %{{x:.2f}}: %{{y:.3f}}<extra></extra>",
            )
    figure.update_xaxes(title="threshold")
    figure.update_yaxes(range=[-0.02, 1.02], nticks=6)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.2})
    return figure


def differences_height(rows: list[dict[str, Any]]) -> int:
    """Pixels of a figure of differences."""
    return AXES_HEIGHT + ROW_HEIGHT * len(rows)


def differences_figure(rows: list[dict[str, Any]], labels: list[str]) -> go.Figure:
    """A row per comparison: dot = difference, bar = 95 % interval, vermilion where it hurts."""
    figure = make_figure(differences_height(rows))
    for position, row in enumerate(rows):
        colour = COLOURS["vision"] if row["hurts"] else COLOURS["audio"]
        if row["interval"] is not None:
            figure.add_scatter(
                x=row["interval"], y=[position] * 2, mode="lines", line={"color": colour, "width": 5}, opacity=0.45, hoverinfo="skip"
            )
        hover = f"{labels[position]}: %{{x:+.3f}}<extra></extra>"
        figure.add_scatter(x=[row["difference"]], y=[position], mode="markers", marker={"color": colour, "size": 10}, hovertemplate=hover)
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5, "dash": "dash"})
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=labels, range=[len(rows) - 0.4, -0.6], showgrid=False, ticklabelstandoff=8
    )
    return figure
