"""Reliability -> plotly figures: confidence against accuracy, and how the confidences are spread."""

import math
from typing import Any

import plotly.graph_objects as go

from mer_ray.reporting.figures import GREY, make_figure

HEIGHT = 320
SMALLEST_DOT, LARGEST_DOT = 5, 22


def reliability_figure(calibration: dict[str, Any], colour: str) -> go.Figure:
    """A dot per bin of confidence, its area the share of the predictions; on the dashed line confidence is accuracy."""
    figure = make_figure(HEIGHT)
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "width": 1.5, "dash": "dash"}, hoverinfo="skip")
    for curve, tone in _coloured(calibration, colour):
        bins = [one for one in curve["bins"] if one["count"]]
        shares = [one["count"] / calibration["num_predictions"] for one in bins]
        figure.add_scatter(
            x=[one["confidence"] for one in bins],
            y=[one["accuracy"] for one in bins],
            mode="lines+markers",
            line={"color": tone, "width": 1.5},
            marker={"color": tone, "size": [max(SMALLEST_DOT, LARGEST_DOT * math.sqrt(share)) for share in shares], "line": {"width": 0}},
            customdata=[100 * share for share in shares],
            hovertemplate="confidence %{x:.2f}, accuracy %{y:.2f}<br>%{customdata:.1f} % of all" + f"<extra>{curve['label']}</extra>",
        )
    figure.update_xaxes(title="confidence (highest probability)", range=[-0.03, 1.03], nticks=6)
    figure.update_yaxes(title="accuracy", range=[-0.03, 1.03], nticks=6)
    return figure


def confidence_figure(calibration: dict[str, Any], colour: str) -> go.Figure:
    """Share of the predictions by bin of confidence."""
    figure = make_figure(HEIGHT, barmode="group", bargap=0.1, bargroupgap=0)
    for curve, tone in _coloured(calibration, colour):
        figure.add_bar(
            x=[(one["low"] + one["high"]) / 2 for one in curve["bins"]],
            y=[one["count"] / calibration["num_predictions"] for one in curve["bins"]],
            marker={"color": tone, "line": {"width": 0}},
            customdata=[[one["low"], one["high"]] for one in curve["bins"]],
            hovertemplate="%{y:.1%} between %{customdata[0]:.2f} and %{customdata[1]:.2f}" + f"<extra>{curve['label']}</extra>",
        )
    figure.update_xaxes(title="confidence (highest probability)", range=[-0.03, 1.03], nticks=6)
    figure.update_yaxes(title="share of predictions", tickformat=".0%", nticks=6)
    return figure


def _coloured(calibration: dict[str, Any], colour: str) -> list[tuple[dict[str, Any], str]]:
    """Grey before and colour after; colour where there is one curve only."""
    curves = calibration["curves"]
    return list(zip(curves, [GREY, colour] if len(curves) > 1 else [colour], strict=True))
