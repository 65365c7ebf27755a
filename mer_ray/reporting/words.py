"""How the report names metrics and writes numbers."""

import math
from typing import Any

from mer_ray.objectives.metrics import LOWER_IS_BETTER

METRIC_TITLES = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "uar": "UAR",
    "accuracy": "accuracy",
    "valence_ccc": "valence CCC",
    "valence_mse": "valence MSE",
    "mer2023": "MER2023 combined",
}
ABSENT = "–"


def lower_is_better(metric: str) -> bool:
    """Errors are better low, all other metrics high."""
    return metric.endswith(LOWER_IS_BETTER)


def metric_title(name: str) -> str:
    """A metric as people write it; names that the report does not know are shown without underscores."""
    return METRIC_TITLES.get(name, name.replace("_", " "))


def format_number(value: float | None, digits: int = 3) -> str:
    """Fixed digits and a true minus sign, none before zero; a dash where there is no number."""
    return ABSENT if value is None else f"{value:z.{digits}f}".replace("-", "−")


def format_mean(score: dict[str, Any]) -> str:
    """`0.853 ± 0.012`; without the spread where there is only one seed."""
    if score["std"] is None:
        return format_number(score["mean"])
    return f"{format_number(score['mean'])} ± {format_number(score['std'])}"


def format_interval(score: dict[str, Any]) -> str:
    """`[0.810, 0.880]`; a dash where there is no interval."""
    return ABSENT if score["low"] is None else f"[{format_number(score['low'])}, {format_number(score['high'])}]"


def format_bytes(num_bytes: int) -> str:
    """Megabytes with one digit."""
    return f"{num_bytes / 1e6:.1f} MB"


def format_significant(value: float | None) -> str:
    """At least three significant digits and no exponent: 0.0123, 1.23, 1234."""
    if value is None:
        return ABSENT
    return format_number(value, max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0)


def format_count(count: int | None) -> str:
    """Thousands with commas."""
    return ABSENT if count is None else f"{count:,}"
