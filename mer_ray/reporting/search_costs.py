"""The best score that each set of encoders reached, against what these encoders cost per clip."""

from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.reporting.search_trials import Trials
from mer_ray.reporting.words import format_number, format_significant
from mer_ray.tuning.records import TrialRecord

DEVICE_TITLES = {"cuda": "a GPU", "cpu": "a CPU core"}


def device_title(device: str) -> str:
    """What the seconds of a cost are of."""
    return DEVICE_TITLES.get(device, device)


def costs_of(facts: dict[str, Any], trials: Trials) -> dict[str, Any]:
    """Per set of encoders that a complete trial reads its best trial, the score, and the milliseconds to encode a clip.

    `milliseconds` of a set is the sum over its encoders; None where not all were measured on one kind of device, because such sums do not
    compare. `is_front`: no set with a higher score is as cheap.
    """
    best: dict[tuple[str, ...], TrialRecord] = {}
    for record in trials.complete:
        best.setdefault(tuple(sorted(record.inputs)), record)
    costs = {name: encoder["cost"] for name, encoder in facts["encoders"].items()}
    used = {name for names in best for name in names}
    devices = {costs[name]["device"] for name in used if costs[name] is not None}
    is_measured = len(devices) == 1 and all(costs[name] is not None for name in used)
    rows: list[dict[str, Any]] = [
        {
            "encoders": list(names),
            "modalities": sorted({facts["encoders"][name]["modality"] for name in names}),
            "number": record.number,
            "score": trials.score(record),
            "milliseconds": sum(costs[name]["milliseconds_per_clip"] for name in names) if is_measured else None,
        }
        for names, record in best.items()
    ]
    for row in rows:
        # Rows are in order of their scores.
        better = rows[: rows.index(row)]
        row["is_front"] = is_measured and all(row["milliseconds"] < other["milliseconds"] for other in better)
    encoders = [_encoder_row(name, encoder, trials) for name, encoder in facts["encoders"].items()]
    device = next(iter(devices)) if is_measured else None
    return {"answer": _answer(rows, encoders, device, trials), "device": device, "rows": rows, "encoders": encoders}


def _encoder_row(name: str, encoder: dict[str, Any], trials: Trials) -> dict[str, Any]:
    best = next((record for record in trials.complete if name in record.inputs), None)
    return {
        "name": name,
        "modality": encoder["modality"],
        "cost": encoder["cost"],
        "number": None if best is None else best.number,
        "score": None if best is None else trials.score(best),
        "layers": [] if best is None else best.inputs[name],
    }


def _answer(rows: list[dict[str, Any]], encoders: list[dict[str, Any]], device: str | None, trials: Trials) -> str:
    best = rows[0]
    if device is None:
        lacking = [encoder["name"] for encoder in encoders if encoder["cost"] is None]
        if lacking:
            return f"Not known of {', '.join(lacking)}: features from an extraction that measured no time, or from elsewhere."
        return "Not comparable: some encoders were measured on a GPU, others on a CPU."
    took = f"{format_significant(best['milliseconds'])} ms of {device_title(device)} per clip"
    if len(rows) == 1:
        return f"All complete trials read the same {say_count(len(best['encoders']), 'encoder')}, which take {took} together."
    cheaper = [row for row in rows if row["milliseconds"] < best["milliseconds"]]
    if not cheaper:
        return f"The best set, {' + '.join(best['encoders'])}, is also the cheapest: {took}."
    # Rows are in order of their scores.
    next_best = cheaper[0]
    loss = format_number(trials.gain(best["score"], next_best["score"]))
    share = f"{next_best['milliseconds'] / best['milliseconds']:.0%}"
    return f"The best set takes {took}. {' + '.join(next_best['encoders'])} takes {share} of that, and its best trial is {loss} worse."
