"""The trials of a search in the order of their numbers: what was complete, what was best, how it went on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mer_ray.core.counting import say_count
from mer_ray.reporting.words import format_number
from mer_ray.tuning.records import TrialRecord

# "The best" of few trials are half of them, so that they differ from the rest.
MAX_TOP = 10
# The part at the end in which a search that goes on would still find something.
END_SHARE = 0.25


@dataclass(frozen=True)
class Trials:
    """All finished trials of a search and its objectives, name -> `maximize` or `minimize`; the first one orders them."""

    finished: tuple[TrialRecord, ...]
    directions: dict[str, str]

    @property
    def objective(self) -> str:
        """The first objective."""
        return next(iter(self.directions))

    @property
    def is_minimised(self) -> bool:
        """Whether low is good."""
        return self.directions[self.objective] == "minimize"

    @property
    def complete(self) -> list[TrialRecord]:
        """Complete trials, the best first; of equals the first begun."""
        found = [record for record in self.finished if record.state == "complete"]
        return sorted(found, key=lambda record: self.score(record) if self.is_minimised else -self.score(record))

    @property
    def top(self) -> list[TrialRecord]:
        """The best half of the complete trials, at most ten."""
        complete = self.complete
        return complete[: min(MAX_TOP, math.ceil(len(complete) / 2))]

    def score(self, record: TrialRecord) -> float:
        """A complete trial's value of the first objective."""
        return record.values[self.objective]

    def gain(self, later: float, earlier: float) -> float:
        """By how much one score is better than another."""
        return earlier - later if self.is_minimised else later - earlier


def order_trials(records: Sequence[TrialRecord], directions: dict[str, str]) -> Trials:
    """The finished ones."""
    return Trials(tuple(sorted((one for one in records if one.is_finished), key=lambda one: one.number)), directions)


def history_of(trials: Trials) -> dict[str, Any]:
    """Per trial its score (of pruned ones that of their last step, of failed ones none), and the best until then."""
    best: float | None = None
    rows = []
    for record in trials.finished:
        if record.state == "complete" and (best is None or trials.gain(trials.score(record), best) > 0):
            best = trials.score(record)
        score = trials.score(record) if record.state == "complete" else next(reversed(record.curve.values()), None)
        rows.append({"number": record.number, "state": record.state, "score": score if record.state != "failed" else None, "best": best})
    return {"answer": _history_answer(trials, rows), "rows": rows}


def _history_answer(trials: Trials, rows: list[dict[str, Any]]) -> str:
    if len(trials.complete) < 2:
        return "One trial is complete, so there is nothing to compare."
    best = trials.complete[0]
    place = next(position for position, row in enumerate(rows, start=1) if row["number"] == best.number)
    first_of_end = math.floor(len(rows) * (1 - END_SHARE))
    if place <= first_of_end:
        last = "last trial" if place == len(rows) - 1 else f"last {len(rows) - place} of {len(rows)} trials"
        return f"No: the {last} found nothing better than trial {best.number}."
    before = next((row["best"] for row in reversed(rows[:first_of_end]) if row["best"] is not None), None)
    rise = (
        "" if before is None else f", {format_number(trials.gain(trials.score(best), before))} better than all of the first {first_of_end}"
    )
    return f"Yes: the best, trial {best.number}, came among the last {len(rows) - first_of_end} of {len(rows)}{rise}. More may find more."


def curves_of(trials: Trials) -> dict[str, Any]:
    """Per trial its score by step; None in place of them where none has a curve."""
    rows = [
        {"number": record.number, "state": record.state, "steps": list(record.curve), "scores": list(record.curve.values())}
        for record in trials.finished
        if record.curve and record.state != "failed"
    ]
    return {"answer": _curves_answer(trials), "best": trials.complete[0].number, "rows": rows}


def _curves_answer(trials: Trials) -> str:
    if len(trials.directions) > 1:
        return "Nowhere: with several objectives every trial runs to its end."
    pruned = [record for record in trials.finished if record.state == "pruned" and record.curve]
    if not pruned:
        return "Nowhere: no trial was pruned."
    num_steps = max(max(record.curve) for record in trials.finished if record.curve)
    ends = [max(record.curve) for record in pruned]
    where = ", ".join(f"{ends.count(step)} after step {step}" for step in sorted(set(ends)))
    spared = sum(num_steps - end for end in ends)
    total = num_steps * len([record for record in trials.finished if record.state in ("complete", "pruned")])
    return f"{say_count(len(pruned), 'trial')} of {len(trials.finished)}: {where}. That spared {spared / total:.0%} of all steps."


def failures_of(trials: Trials) -> list[dict[str, Any]]:
    """Per reason the trials that failed by it, the most frequent first."""
    found: dict[str, list[int]] = {}
    for record in trials.finished:
        if record.state == "failed":
            found.setdefault(record.reason or "no reason was given", []).append(record.number)
    return [
        {"reason": reason, "numbers": numbers, "count": len(numbers)}
        for reason, numbers in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
