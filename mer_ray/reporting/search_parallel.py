"""Complete trials as lines over their parameters, and those that no other trial beats in all objectives."""

import math
from typing import Any

from mer_ray.reporting.search_trials import Trials
from mer_ray.reporting.search_values import is_layer, shown_value
from mer_ray.reporting.words import metric_title
from mer_ray.tuning.records import TrialRecord, pareto_front

# More axes cannot be told apart on a screen.
MAX_AXES = 10
NOT_DRAWN = "not drawn"
NUM_MARKS = 4


def parallel_of(facts: dict[str, Any], trials: Trials) -> dict[str, Any]:
    """An axis per parameter, the most important ones; `places` of the complete trials (best first), and what marks of the axis say."""
    dimensions, importances = facts["dimensions"], facts["importances"]
    names = sorted(dimensions, key=lambda name: (-float(importances.get(name, 0.0)), is_layer(name, dimensions[name])))
    varied = [name for name in names if len({shown_value(record.params.get(name)) for record in trials.complete}) > 1]
    axes = [_axis(name, dimensions[name], trials.complete) for name in varied[:MAX_AXES]]
    return {"axes": axes, "scores": [trials.score(record) for record in trials.complete], "num_left_out": len(varied) - len(axes)}


def _axis(name: str, dimension: dict[str, Any], records: list[TrialRecord]) -> dict[str, Any]:
    if dimension["kind"] == "choice":
        marks = {float(place): shown_value(option) for place, option in enumerate(dimension["options"])}
        where = {shown: place for place, shown in marks.items()}
        places = [where[shown_value(record.params[name])] if name in record.params else -1.0 for record in records]
        gap = -1.0
    else:
        scale, back = (math.log10, lambda place: 10**place) if dimension["log"] else (float, float)
        low, high = scale(dimension["low"]), scale(dimension["high"])
        gap = low - (high - low) / NUM_MARKS
        places = [scale(record.params[name]) if name in record.params else gap for record in records]
        marks = {}
        for step in range(NUM_MARKS + 1):
            place = low + (high - low) * step / NUM_MARKS
            value = round(back(place)) if dimension["kind"] == "int" else back(place)
            marks[scale(value)] = shown_value(value)
    if gap in places:
        marks = {gap: NOT_DRAWN, **marks}
    return {"name": name, "places": places, "marks": list(marks), "texts": list(marks.values())}


def pareto_of(trials: Trials) -> dict[str, Any] | None:
    """With several objectives the values of the complete trials and which are on the front; None with one."""
    if len(trials.directions) == 1:
        return None
    first, second = list(trials.directions)[:2]
    front = {record.number for record in pareto_front(trials.finished, trials.directions)}
    rows = [{"number": record.number, "values": record.values, "is_front": record.number in front} for record in trials.complete]
    on_front = [row for row in rows if row["is_front"]]
    best, last = on_front[0], _best_in(on_front, second, trials.directions[second])
    said = f"{len(on_front)} of {len(rows)} complete trials are beaten by no other one in all objectives"
    if best["number"] == last["number"]:
        said += f"; trial {best['number']} is best in both {metric_title(first)} and {metric_title(second)}."
    else:
        said += f"; from {_named(best, first, second)} to {_named(last, first, second)}."
    return {"answer": said, "objectives": trials.directions, "rows": rows}


def _best_in(rows: list[dict[str, Any]], objective: str, direction: str) -> dict[str, Any]:
    pick = min if direction == "minimize" else max
    return pick(rows, key=lambda row: float(row["values"][objective]))


def _named(row: dict[str, Any], first: str, second: str) -> str:
    values = ", ".join(f"{metric_title(name)} {shown_value(row['values'][name])}" for name in (first, second))
    return f"trial {row['number']} ({values})"
