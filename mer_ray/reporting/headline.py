"""The answer to "which run is best?" in words."""

from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.reporting.words import format_number, lower_is_better, metric_title


def headline(summary: list[dict[str, Any]], metric: str) -> list[str]:
    """Sentences over the summary rows, best first: the best run, its lead on the next, its distance to the ceiling.

    Where runs were scored on different clips, none is called the best; the lead is that on the next of the same clips.
    """
    best, title = summary[0], metric_title(metric)
    score = best["scores"][metric]
    interval = "" if score["low"] is None else f" (95 % interval {format_number(score['low'])} to {format_number(score['high'])})"
    clips = say_count(best["num_clips"], f"{best['split']} clip")
    reached = f"{title} {format_number(score['mean'])}{interval} on {clips}"
    others = [row for row in summary[1:] if row["same_clips"]]
    if len(summary) == 1:
        sentences = [f"{best['name']} reaches {reached}."]
    elif len(others) == len(summary) - 1:
        sentences = [f"{best['name']} is best: {reached}."]
    else:
        place = "lowest" if lower_is_better(metric) else "highest"
        sentences = ["The runs were scored on different clips, so their order does not say which is better."]
        sentences.append(f"The {place} figure is that of {best['name']}: {reached} of {best['corpus']}.")
    if others:
        sentences.append(_lead(others[0], "" if len(others) == len(summary) - 1 else " of these clips"))
    if best["ceiling"] is not None:
        gap = best["ceiling"] - score["mean"]
        place = f"{format_number(abs(gap))} {'below' if gap >= 0 else 'above'}"
        sentences.append(f"It is {place} the best possible score on this corpus, {format_number(best['ceiling'])}.")
    strict = next((row for row in others if not row["transductive"]), None)
    if best["transductive"] and strict is not None:
        value = format_number(strict["scores"][metric]["mean"])
        sentences.append(f"It is transductive; the best run that knows nothing of the test speakers is {strict['name']} with {value}.")
    return sentences


def _lead(second: dict[str, Any], where: str) -> str:
    behind = second["behind"]
    sentence = f"Its lead on the next{where}, {second['name']}, is {format_number(abs(behind['mean']))}"
    if behind["low"] is None:
        return f"{sentence}; whether that is chance is unknown, because the two do not compare clip by clip."
    if behind["low"] <= 0 <= behind["high"]:
        return f"{sentence}, which may be chance."
    nearest, farthest = sorted((abs(behind["low"]), abs(behind["high"])))
    return (
        f"{sentence}, and between {format_number(nearest)} and {format_number(farthest)} when the clips are drawn anew: "
        "more than chance, as far as the clips are independent."
    )
