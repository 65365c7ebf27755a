"""The scores on degraded media as tables for a terminal."""

from pathlib import Path
from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.core.table import Table


def robustness_tables(facts: dict[str, Any], path: Path, predictions_path: Path) -> list[Table]:
    """One table: a row per condition; a column per number that the models give of clips."""
    names = list(dict.fromkeys(name for one in facts["conditions"] for name in one["facts"]))
    columns = ("condition", "clips affected", facts["official"], "95 % interval", "minus clean", "95 % interval", "p", "p, Holm", *names)
    rows = tuple(_row(facts, one, names) for one in facts["conditions"])
    return [Table(f"{facts['protocol']}: {facts['rule']}", columns, rows, tuple(_notes(facts, path, predictions_path)))]


def _row(facts: dict[str, Any], one: dict[str, Any], names: list[str]) -> tuple[Any, ...]:
    numbers = [one["facts"][name]["mean"] if name in one["facts"] else None for name in names]
    difference = one["difference"]
    interval = _bounds(one["intervals"].get(facts["official"]))
    who = one["condition"], one["num_affected"]
    if difference is None:
        return *who, one["official"], interval, None, "", "", "", *numbers
    p_values = (f"{difference['p_value']:.4f}", f"{difference['p_holm']:.4f}")
    return *who, one["official"], interval, difference["difference"], _bounds(difference["interval"]), *p_values, *numbers


def _notes(facts: dict[str, Any], path: Path, predictions_path: Path) -> list[str]:
    swapped = "" if facts["num_speakers"] is None else ", which swaps whole speakers"
    drawn = "clips" if facts["num_speakers"] is None else f"the {facts['num_speakers']} speakers with all their clips"
    notes = [
        f"{say_count(facts['num_labelled'], 'labelled clip')} of {facts['labels']}, intervals: {drawn} drawn anew "
        f"{facts['num_resamples']} times; p: paired randomisation test against clean{swapped}"
    ]
    if facts["num_held_out"]:
        clips = say_count(facts["num_held_out"], "clip")
        notes.append(f"{clips} were in the training of some models: each is judged by the models that held it out")
    for one in facts["conditions"]:
        if one["num_silent"]:
            notes.append(f"{one['condition']}: {say_count(one['num_silent'], 'silent clip')} got no noise: there is no ratio to silence")
    for name, fact in facts["conditions"][0]["facts"].items():
        if fact["only_complete"]:
            notes.append(f"{name}: mean over the {say_count(fact['num_clips'], 'clip')} that have every input")
    for one in facts["conditions"]:
        fixed = [name for name, fact in one["facts"].items() if fact["is_fixed"]]
        if fixed:
            notes.append(f"{one['condition']}: {', '.join(fixed)} by construction: nothing is left to choose from")
    return [*notes, f"scores: {path}", f"predictions: {predictions_path}"]


def _bounds(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"
