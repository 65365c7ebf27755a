"""The answer of a search in plain words."""

from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.reporting.search_trials import Trials
from mer_ray.reporting.words import format_number, metric_title

SIGNIFICANT = 0.05


def headline_of(facts: dict[str, Any], trials: Trials) -> list[str]:
    """What the best is, what it reaches on clips that the search never saw, whether that is more than a known setting, and why it ended."""
    return [_choice_sentence(facts, trials), _test_sentence(facts, trials), _gain_sentence(facts, trials)]


def _choice_sentence(facts: dict[str, Any], trials: Trials) -> str:
    best, title = facts["best"], metric_title(trials.objective)
    score = format_number(best["values"][trials.objective])
    if len(trials.complete) == 1:
        return f"Trial {best['number']} is the only complete trial: {title} {score} on development data."
    again = f"trained with {say_count(facts['final']['num_seeds'], 'seed')}"
    others = len(facts["finalists"])
    if others == 1:
        return f"Trial {best['number']} is the best of {len(trials.complete)} complete trials: {title} {score} on development data."
    return (
        f"Of {len(trials.complete)} complete trials, the {others} most promising were {again}; trial {best['number']} is the best of them: "
        f"{title} {format_number(facts['final']['dev'])} on development data, {score} in the search."
    )


def _test_sentence(facts: dict[str, Any], trials: Trials) -> str:
    final, dev = facts["final"], facts["best"]["values"][trials.objective]
    between = "" if final["interval"] is None else f" (95 % interval {_interval(final['interval'])})"
    seeds = say_count(final["num_seeds"], "seed")
    reached = f"With {seeds} it reaches {format_number(final['mean'])}{between} on {final['split']}, which no trial has seen"
    loss = trials.gain(dev, final["mean"])
    shown = format_number(abs(loss))
    if format_number(loss) == format_number(0.0):
        return f"{reached}: the same as in the search."
    within = final["interval"] is not None and final["interval"][0] <= dev <= final["interval"][1]
    side = "better" if loss < 0 else "worse"
    return f"{reached}: {shown} {side} than in the search{', within the interval' if within else ''}."


def _gain_sentence(facts: dict[str, Any], trials: Trials) -> str:
    start = facts["start"]
    if start is None and not facts["num_starts"]:
        return "No known setting was given to compare it with (`starts`)."
    if start is None:
        return _first_sentence(trials)
    gain = start["gain"]
    mean = -gain["mean"] if trials.is_minimised else gain["mean"]
    said = f"The first known setting reaches {format_number(start['final']['mean'])} there; the best is {format_number(abs(mean))} "
    said += "better" if mean >= 0 else "worse"
    if gain["interval"] is None:
        return f"{said}; whether that is chance is unknown."
    low, high = gain["interval"]
    bounds = (-high, -low) if trials.is_minimised else (low, high)
    chance = low <= 0 <= high or gain["p_value"] >= SIGNIFICANT
    verdict = "that may be chance" if chance else "more than chance"
    return f"{said} (difference {_interval(bounds)}, {p_value(gain['p_value'])}): {verdict}."


def _first_sentence(trials: Trials) -> str:
    """Of a first known setting that was not trained again: it is the best, or gave no score."""
    first = next((record for record in trials.finished if record.start_number == 0), None)
    if first is None:
        return "The first known setting was not tried to its end, so there is nothing to compare it with."
    if first.state == "failed":
        return f"The first known setting failed, so there is nothing to compare it with: {first.reason}."
    return "It is the first known setting itself: the search found nothing better."


def course_of(facts: dict[str, Any], trials: Trials) -> str:
    """How many trials there were, what they took, and why the search ended."""
    counts, spent = facts["counts"], facts["spent"]
    kinds = ", ".join(f"{counts[state]} {state}" for state in ("complete", "pruned", "failed"))
    gpu = f" and {spent['gpu_seconds'] / 3600:.2f} GPU-hours" if spent["gpu_seconds"] else ""
    why = "all trials that were asked for are done" if facts["ended_by"] is None else f"before all trials were done: {facts['ended_by']}"
    return f"{say_count(len(trials.finished), 'trial')} ({kinds}) in {duration(spent['seconds'])}{gpu}. It ended: {why}."


def duration(seconds: float) -> str:
    """In the unit that reads best."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def p_value(value: float) -> str:
    """`p 0.012`, never 0."""
    return "p below 0.001" if value < 0.001 else f"p {value:.3f}"


def _interval(bounds: Any) -> str:
    return f"{format_number(bounds[0])} to {format_number(bounds[1])}"
