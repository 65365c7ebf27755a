"""What a study says of its trials, without Optuna."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mer_ray.objectives import is_better

TrialStateName = Literal["complete", "pruned", "failed", "running"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial: `values` by objective (of complete ones), all `scores` of its last step, the `curve` of the first objective by step.

    `started_s` and `ended_s` in seconds since 1970. `stands_for` is the number of the trial that a killed search left behind and that this
    one repeats, else its own.
    `inputs`: the layers that it reads by encoder; a study does not know them, trials.parquet does.
    """

    number: int
    state: TrialStateName
    params: dict[str, Any]
    values: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    curve: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None
    started_s: float | None = None
    ended_s: float | None = None
    stands_for: int | None = None
    inputs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def start_number(self) -> int:
        """Which known good setting it tries, they come first; beyond their number, none."""
        return self.number if self.stands_for is None else self.stands_for

    @property
    def is_finished(self) -> bool:
        """Whether it counts for the budget: what failed by a reason of its own does, too."""
        return self.state != "running"


def best_of(records: Sequence[TrialRecord], objective: str) -> TrialRecord | None:
    """The best complete trial by an objective, of equals the first; None where none is complete."""
    best = None
    for record in records:
        if record.state == "complete" and (best is None or is_better(objective, record.values[objective], best.values[objective])):
            best = record
    return best


def finalists_of(records: Sequence[TrialRecord], objective: str, number: int, num_starts: int) -> list[TrialRecord]:
    """The best complete trials by an objective, best first, and after them the known good settings that are complete.

    One seed on few clips tells good trials badly apart, and the luckiest of many wins: several earn a second look.
    """
    complete = [record for record in records if record.state == "complete"]
    ranked = sorted(complete, key=lambda record: record.values[objective], reverse=is_better(objective, 1.0, 0.0))
    return ranked[:number] + [record for record in ranked[number:] if record.start_number < num_starts]


def pareto_front(records: Sequence[TrialRecord], directions: dict[str, str]) -> list[TrialRecord]:
    """The complete trials that no other one beats in one objective and equals in the rest."""
    complete = [record for record in records if record.state == "complete"]

    def costs(record: TrialRecord) -> list[float]:
        return [-record.values[name] if direction == "maximize" else record.values[name] for name, direction in directions.items()]

    def beats(one: list[float], other: list[float]) -> bool:
        return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))

    return [record for record in complete if not any(beats(costs(other), costs(record)) for other in complete)]


def repeated_failure(records: Sequence[TrialRecord], times: int) -> str | None:
    """The reason that failed trials have in common, where as many as `times` have it but for numbers: epochs, folds, processes."""
    reasons = [record.reason for record in records if record.state == "failed" and record.reason]
    counts = Counter(map(_without_numbers, reasons))
    return next((reason for reason in reasons if counts[_without_numbers(reason)] >= times), None)


def _without_numbers(reason: str) -> str:
    return re.sub(r"\b(?=\w*\d)[0-9a-f]{8,}\b|\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)
