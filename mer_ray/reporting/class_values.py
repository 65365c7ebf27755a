"""The values that a model learnt for each emotion, beside those of the labelled clips."""

import statistics
from typing import Any

from mer_ray.reporting.runs import Run
from mer_ray.reporting.words import format_number


def class_values_of(run: Run) -> list[dict[str, Any]]:
    """A table per value that the run's models map emotions to; empty where they map none.

    It holds `name`, `verdict` in words and `rows`: `class`, `data` (the mean of its clips' labels, None without any), `mean` and `std`
    (None for one) over folds and seeds of what was learnt, and `fits`, a row of `fold`, `seed`, `value` for each.
    """
    learnt = [one for one in run.facts.get("learnt") or () if one.get("class_values")]
    tables = []
    for name in run.facts["values"]:
        means = (run.facts.get("class_means") or {}).get(name, {})
        rows = [row for row in (_row(kind, means.get(kind), name, learnt) for kind in run.classes) if row["fits"]]
        if rows:
            tables.append({"name": name, "verdict": _verdict(rows), "rows": rows})
    return tables


def _row(kind: str, data: float | None, name: str, learnt: list[dict[str, Any]]) -> dict[str, Any]:
    fits = [{"fold": one["fold"], "seed": one["seed"], "value": one["class_values"].get(name, {}).get(kind)} for one in learnt]
    fits = [fit for fit in fits if fit["value"] is not None]
    values = [fit["value"] for fit in fits]
    return {
        "class": kind,
        "data": data,
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "fits": fits,
    }


def _verdict(rows: list[dict[str, Any]]) -> str:
    """How far the two lie apart, on average and at most."""
    known = [row for row in rows if row["data"] is not None]
    if not known:
        return "No labelled clip says what the data have."
    distances = [abs(row["mean"] - row["data"]) for row in known]
    far = max(known, key=lambda row: abs(row["mean"] - row["data"]))
    return (
        f"Learnt and labelled lie {format_number(statistics.fmean(distances), 2)} apart on average, farthest for {far['class']}: "
        f"{format_number(far['mean'], 2)} learnt, {format_number(far['data'], 2)} labelled."
    )
