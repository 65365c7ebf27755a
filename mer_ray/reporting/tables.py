"""Runs -> plain tables (lists of dicts of numbers and texts): what the page shows, and what it carries as JSON."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mer_ray.core.errors import RunError
from mer_ray.reporting.attention import attention_by_class
from mer_ray.reporting.calibration import calibration_of
from mer_ray.reporting.ceilings import ceiling_of
from mer_ray.reporting.class_values import class_values_of
from mer_ray.reporting.clip_cards import RunClips, clip_cards
from mer_ray.reporting.clip_groups import predicted_clips
from mer_ray.reporting.clips import read_texts, value_points, worst_mistakes
from mer_ray.reporting.comparison import intervals_behind, labelled_ids
from mer_ray.reporting.costs import cost_of
from mer_ray.reporting.curves import curve, curves_by_step
from mer_ray.reporting.faces import faces_of
from mer_ray.reporting.failures import failures_of
from mer_ray.reporting.groups import groups_of
from mer_ray.reporting.headline import headline
from mer_ray.reporting.model_facts import model_facts_of
from mer_ray.reporting.runs import Run, SplitPredictions
from mer_ray.reporting.uncertainty import uncertainties_of
from mer_ray.reporting.words import METRIC_TITLES, lower_is_better


def build_tables(
    runs: Sequence[Run], *, metric: str, split: str | None, ceilings: dict[str, float], max_mistakes: int, max_uncertain: int
) -> dict[str, Any]:
    """All numbers of the report, JSON-able: `summary` (a row per run, best first), `runs` (details, same order), `remarks`, `clips`.

    Raises:
        RunError: a run lacks the split or the metric.

    """
    ranked = rank_runs(runs, metric=metric, split=split, ceilings=ceilings)
    predictions = [run.predictions(row["split"]) for row, run in ranked]
    summary = [row for row, _ in ranked]
    mark_same_clips(summary, predictions)
    _add_slugs(summary)
    _add_distances(ranked, predictions, metric)
    details = [_details(run, row, one, metric, max_mistakes) for (row, run), one in zip(ranked, predictions, strict=True)]
    listed = [
        RunClips(run, row["slug"], predicted_clips(run, row["split"], one)) for (row, run), one in zip(ranked, predictions, strict=True)
    ]
    return {
        "metric": metric,
        "metrics": _metric_order(summary, metric),
        "ceilings": ceilings,
        "headline": headline(summary, metric),
        "remarks": remarks_on(summary),
        "summary": summary,
        "runs": details,
        "clips": clip_cards(listed, {"wrong": max_mistakes, "uncertain": max_uncertain}),
    }


def rank_runs(runs: Sequence[Run], *, metric: str, split: str | None, ceilings: dict[str, float]) -> list[tuple[dict[str, Any], Run]]:
    """Each run with its summary row, best first.

    Raises:
        RunError: a run lacks the split or the metric.

    """
    unordered = [(_summary_row(run, _main_split(run, split), metric, ceilings), run) for run in runs]
    sign = 1 if lower_is_better(metric) else -1
    return sorted(unordered, key=lambda pair: sign * float(pair[0]["scores"][metric]["mean"]))


def _main_split(run: Run, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in run.scores:
            raise RunError(f"{run.folder}: scores no split {wanted!r}; it has {', '.join(run.scores)}")
        return wanted
    other_tests = [name for name in run.scores if name.startswith("test")]
    return next(name for name in ("test", *other_tests, "dev", *run.scores) if name in run.scores)


def _summary_row(run: Run, split: str, metric: str, ceilings: dict[str, float]) -> dict[str, Any]:
    scores = scores_of(run.scores[split])
    if metric not in scores:
        raise RunError(f"{run.folder}: has no metric {metric!r} on split {split}; it has {', '.join(scores)}")
    return {
        "name": run.name,
        "modalities": list(run.modalities),
        "streams": [stream["name"] for stream in run.facts["streams"]],
        "corpus": run.facts["corpus"],
        "protocol": run.facts["protocol"],
        "normalisation": run.facts["normalisation"],
        "transductive": run.is_transductive,
        "split": split,
        "num_clips": run.scores[split]["num_clips"],
        "num_seeds": len(run.facts["seeds"]),
        "num_folds": len(run.facts["folds"]) if run.facts.get("folds") else None,
        "ceiling": ceiling_of(run.modalities, ceilings) if metric == "weighted_f1" else None,
        "scores": scores,
        "ensemble": _ensemble_of(run.scores[split]),
    }


def _ensemble_of(split: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By metric the score of the mean over the seeds of their probabilities and values, as `scores_of`; empty for one seed."""
    bounds = split.get("ensemble_interval") or {}
    found = {}
    for name, mean in (split.get("ensemble") or {}).items():
        low, high = bounds.get(name) or (None, None)
        found[name] = {"mean": mean, "std": None, "low": low, "high": high}
    return {name: score for name, score in found.items() if score["mean"] is not None}


def scores_of(split: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One split of scores.json by metric: {mean, std (None for one seed), low, high (None without interval), per_seed}."""
    seeds = split["per_seed"]
    scores = {}
    for name, mean in split["mean"].items():
        low, high = split.get("interval", {}).get(name) or (None, None)
        std = split.get("std", {}).get(name) if len(seeds) > 1 else None
        scores[name] = {"mean": mean, "std": std, "low": low, "high": high, "per_seed": [seed.get(name) for seed in seeds]}
    return {name: score for name, score in scores.items() if score["mean"] is not None}


def _metric_order(summary: list[dict[str, Any]], first: str) -> list[str]:
    found = list(dict.fromkeys(itertools.chain.from_iterable(row["scores"] for row in summary)))
    known = [name for name in METRIC_TITLES if name in found]
    return list(dict.fromkeys([first, *known, *found]))


def _add_slugs(summary: list[dict[str, Any]]) -> None:
    """Give each row `slug`, its anchor in the page; runs of one name are numbered."""
    bases = ["run-" + (re.sub(r"[^a-z0-9]+", "-", row["name"].lower()).strip("-") or "unnamed") for row in summary]
    for position, (row, base) in enumerate(zip(summary, bases, strict=True)):
        nth = bases[:position].count(base)
        row["slug"] = f"{base}--{nth + 1}" if nth else base


def mark_same_clips(summary: Sequence[dict[str, Any]], predictions: Sequence[SplitPredictions]) -> None:
    """Give each row `same_clips`: whether it was scored on the labelled clips of the first, and on no others."""
    clips = [(row["corpus"], row["num_clips"], labelled_ids(one)) for row, one in zip(summary, predictions, strict=True)]
    for row, own in zip(summary, clips, strict=True):
        row["same_clips"] = own == clips[0]


def _add_distances(ranked: list[tuple[dict[str, Any], Run]], predictions: list[SplitPredictions], metric: str) -> None:
    """Give each row `behind`: {mean, low, high} of its score minus the first's; None on other clips, no interval where they do not pair."""
    (best_row, best_run), *others = ranked
    best_row["behind"] = None
    alike = [run.classes == best_run.classes and row["corpus"] == best_row["corpus"] for row, run in others]
    intervals = iter(
        intervals_behind(
            predictions[0], [one for one, same in zip(predictions[1:], alike, strict=True) if same], len(best_run.classes), metric
        )
    )
    for (row, _), is_alike in zip(others, alike, strict=True):
        low, high = (next(intervals) if is_alike else None) or (None, None)
        difference = row["scores"][metric]["mean"] - best_row["scores"][metric]["mean"]
        row["behind"] = {"mean": difference, "std": None, "low": low, "high": high} if row["same_clips"] else None


def remarks_on(summary: list[dict[str, Any]]) -> list[str]:
    """What a reader must know before comparing the rows, which `mark_same_clips` has seen."""
    remarks = []
    if not all(row["same_clips"] for row in summary):
        remarks.append("The runs were scored on different clips (see corpus, split and clips): their scores do not compare directly.")
    if len({row["protocol"] for row in summary}) > 1:
        remarks.append("The runs follow different protocols: compare only rows of the same protocol.")
    transductive = [row["name"] for row in summary if row["transductive"]]
    if transductive:
        remarks.append(
            f"{', '.join(transductive)}: transductive. Features were normalised with statistics of each speaker's own clips, "
            "test speakers included (no labels); compare with other transductive rows only."
        )
    return remarks


def _details(run: Run, row: dict[str, Any], predictions: SplitPredictions, metric: str, max_mistakes: int) -> dict[str, Any]:
    split = row["split"]
    labelled = predictions.select(predictions.labels_N >= 0)
    scored = run.scores[split]
    texts = read_texts(run)
    return {
        **{key: row[key] for key in ("name", "slug", "modalities", "split", "num_clips", "scores", "ensemble")},
        "classes": list(run.classes),
        "splits": [{"split": name, "num_clips": scores["num_clips"], "scores": scores_of(scores)} for name, scores in run.scores.items()],
        "confusion": _confusion(scored.get("confusion")),
        "per_class": [{"class": name, **scored["per_class"][name]} for name in run.classes if name in scored.get("per_class", {})],
        "groups": groups_of(run, labelled, metric),
        "calibration": calibration_of(run, labelled, split),
        "curves": {"train_loss": curve(run.history, "train_loss"), "dev": _dev_curve(run, metric), "steps": _step_curves(run)},
        "uncertainties": uncertainties_of(run),
        "class_values": class_values_of(run),
        "attention": attention_by_class(predictions, run),
        "model_facts": model_facts_of(run, predictions),
        "values": [value_points(predictions, name, row["scores"]) for name in run.facts["values"]],
        "mistakes": worst_mistakes(labelled, run.classes, texts.by_clip, max_mistakes),
        "texts_note": texts.note,
        "failures": failures_of(run),
        "faces": faces_of(run),
        "cost": asdict(cost_of(run)),
        "facts": run.facts,
        "config": run.config_text,
    }


def _dev_curve(run: Run, metric: str) -> dict[str, Any] | None:
    names = [name for row in run.history[:1] for name in row if name.startswith("dev_")]
    wanted = f"dev_{metric}" if f"dev_{metric}" in names else next(iter(names), None)
    return curve(run.history, wanted) if wanted else None


def _step_curves(run: Run) -> list[dict[str, Any]]:
    """The terms of the loss of each step; empty for models that take one step per batch."""
    steps = curves_by_step(run.history, "train_loss_", run.facts["values"])
    return [step for step in steps if step["step"] is not None]


def _confusion(counts: Any) -> dict[str, Any] | None:
    if counts is None:
        return None
    counts_CC = np.asarray(counts, dtype=np.float64)
    totals_C = counts_CC.sum(axis=1, keepdims=True)
    percent_CC = np.divide(100 * counts_CC, totals_C, out=np.zeros_like(counts_CC), where=totals_C > 0)
    return {"counts": counts_CC.tolist(), "row_percent": percent_CC.tolist()}
