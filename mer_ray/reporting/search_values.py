"""Which parameters mattered, and which of their values were good."""

import math
import re
from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.reporting.search_trials import Trials
from mer_ray.reporting.words import format_number

LAYER = re.compile(r"inputs\.(.+?)\.layers\.(.+)")
# Our choice: with fewer the shares swing with every new trial.
ENOUGH_TRIALS = 30
MAX_BARS = 20
# Of a range, as drawn: a best this near to its end asks for a wider one.
EDGE_SHARE = 0.05


def is_layer(name: str, dimension: dict[str, Any]) -> bool:
    """Whether a parameter says only that a layer is read: layers have a figure of their own."""
    return dimension.get("options") == [False, True] and LAYER.fullmatch(name) is not None


def parameter_title(name: str) -> str:
    """A parameter as people write it: `hubert layer_18` for `inputs.hubert.layers.layer_18`."""
    found = LAYER.fullmatch(name)
    return name if found is None else f"{found[1]} {found[2]}"


def shown_value(value: Any) -> str:
    """A parameter's value for people: three significant digits, thousands whole."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")
    return str(value)


def importances_of(facts: dict[str, Any], trials: Trials) -> dict[str, Any]:
    """Shares of the variance, the largest first, and the parameters of which nothing is known."""
    ranked = sorted(facts["importances"].items(), key=lambda item: -float(item[1]))
    rows = [{"name": name, "share": share} for name, share in ranked]
    unjudged = [name for name in facts["dimensions"] if name not in facts["importances"]]
    layers = [name for name in unjudged if is_layer(name, facts["dimensions"][name])]
    return {
        "answer": _importances_answer(rows, len(trials.complete)),
        "rows": rows[:MAX_BARS],
        "rest": rows[MAX_BARS:],
        "unjudged": [name for name in unjudged if name not in layers],
        "num_unjudged_layers": len(layers),
    }


def _importances_answer(rows: list[dict[str, Any]], num_complete: int) -> str:
    if not rows:
        return f"Not known: {say_count(num_complete, 'complete trial')} do not tell." if num_complete > 1 else "Not known from one trial."
    first, *others = rows
    most = f"Most: {parameter_title(first['name'])}, which explains {first['share']:.0%} of the differences between complete trials"
    second = f"; then {parameter_title(others[0]['name'])} with {others[0]['share']:.0%}" if others else ""
    few = f" Take it as a hint: only {num_complete} trials are complete." if num_complete < ENOUGH_TRIALS else ""
    return f"{most}{second}.{few}"


def slices_of(facts: dict[str, Any], trials: Trials) -> list[dict[str, Any]]:
    """Per parameter that is no layer the value and score of each complete trial that has it, the most important first."""
    ranked = sorted(facts["dimensions"].items(), key=lambda item: -float(facts["importances"].get(item[0], 0.0)))
    found = []
    for name, dimension in ranked:
        points = [
            {"number": record.number, "value": record.params[name], "score": trials.score(record)}
            for record in trials.complete
            if name in record.params
        ]
        if points and not is_layer(name, dimension):
            answer = _options_answer if dimension["kind"] == "choice" else _range_answer
            found.append({"name": name, **dimension, "points": points, "answer": answer(dimension, points, trials)})
    return found


def _range_answer(dimension: dict[str, Any], points: list[dict[str, Any]], trials: Trials) -> str:
    num_top = min(len(trials.top), len(points))
    best = points[0]["value"]
    searched = f"searched from {shown_value(dimension['low'])} to {shown_value(dimension['high'])}"
    if num_top < 2:
        said = f"The best has {shown_value(best)} ({searched})."
    else:
        values = [point["value"] for point in points[:num_top]]
        said = f"The best {num_top} lie from {shown_value(min(values))} to {shown_value(max(values))} ({searched})."
    end = _edge(dimension, best)
    return said if end is None else f"{said} The best lies at the {end} end: beyond it may be better."


def _edge(dimension: dict[str, Any], value: float) -> str | None:
    scale = math.log if dimension["log"] else float
    low, high = scale(dimension["low"]), scale(dimension["high"])
    share = (scale(value) - low) / (high - low)
    return "lower" if share <= EDGE_SHARE else "upper" if share >= 1 - EDGE_SHARE else None


def _options_answer(dimension: dict[str, Any], points: list[dict[str, Any]], trials: Trials) -> str:
    best = points[0]
    reached: dict[str, float] = {}
    for point in points:
        reached.setdefault(shown_value(point["value"]), point["score"])
    winner = shown_value(best["value"])
    others = [f"{name} {format_number(score)}" for name, score in reached.items() if name != winner]
    untried = [shown_value(option) for option in dimension["options"] if shown_value(option) not in reached]
    said = f"{winner}: its best trial has {format_number(best['score'])}"
    said += f", that of {', '.join(others)}." if others else "."
    return f"{said} No complete trial has {', '.join(untried)}." if untried else said
