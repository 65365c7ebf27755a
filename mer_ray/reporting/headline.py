"""The answer to "which run is best?" in words."""

from typing import Any

from mer_ray.reporting.words import format_number, metric_title


def headline(summary: list[dict[str, Any]], metric: str) -> list[str]:
    """Sentences over the summary rows, best first: the best run, its lead on the next, its distance to the ceiling."""
    best, title = summary[0], metric_title(metric)
    score = best["scores"][metric]
    interval = "" if score["low"] is None else f" (95 % interval {format_number(score['low'])} to {format_number(score['high'])})"
    if len(summary) == 1:
        sentences = [
            f"{best['name']} reaches {title} {format_number(score['mean'])}{interval} on {best['num_clips']} {best['split']} clips."
        ]
    else:
        sentences = [
            f"{best['name']} is best: {title} {format_number(score['mean'])}{interval} on {best['num_clips']} {best['split']} clips."
        ]
        sentences.append(_lead(summary[1]))
    if best["ceiling"] is not None:
        gap = best["ceiling"] - score["mean"]
        place = f"{format_number(abs(gap))} {'below' if gap >= 0 else 'above'}"
        sentences.append(f"It is {place} the best possible score on this corpus, {format_number(best['ceiling'])}.")
    strict = next((row for row in summary if not row["transductive"]), None)
    if best["transductive"] and strict is not None:
        value = format_number(strict["scores"][metric]["mean"])
        sentences.append(f"It is transductive; the best run that knows nothing of the test speakers is {strict['name']} with {value}.")
    return sentences


def _lead(second: dict[str, Any]) -> str:
    behind = second["behind"]
    sentence = f"Its lead on the next, {second['name']}, is {format_number(abs(behind['mean']))}"
    if behind["low"] is None:
        return f"{sentence}; whether that is chance is unknown, because they were scored on different clips."
    if behind["low"] <= 0 <= behind["high"]:
        return f"{sentence}, which may be chance."
    nearest, farthest = sorted((abs(behind["low"]), abs(behind["high"])))
    return (
        f"{sentence}, and between {format_number(nearest)} and {format_number(farthest)} when the clips are drawn anew: "
        "more than chance, as far as the clips are independent."
    )
