"""What a reader of a self-training must not overlook."""

from typing import Any

# Of the estimated shares on dev: half the sum of absolute differences.
MAX_PRIOR_ERROR = 0.1


def warnings_of(facts: dict[str, Any]) -> list[str]:
    """Rounds and votes whose interval lies on the wrong side of 0, and classes that got no pseudo-label."""
    metric, found = facts["metric"], []
    for row in [*facts["compared"], *(facts["equal_steps"] or [])]:
        if row["hurts"]:
            found.append(f"{row['other']} hurts {row['of']} on {row['split']}: {metric} {_shown(row)} against {row['first']}")
    for row in facts["votes"]:
        if row["hurts"]:
            prior = " with the estimated prior" if row["prior"] == "em" else ""
            found.append(
                f"the vote {row['rule']}{prior} hurts on {row['split']}: {metric} {_shown(row)} against the mean of the same models"
            )
    for one in facts["rounds"]:
        error = (one["pseudo"] or {}).get("prior_error_on_dev", 0.0)
        if error > MAX_PRIOR_ERROR and facts["selection"]["prior"] == "em":
            doubt = "the estimated shares of classes cannot be believed: on dev, where they are known, the same estimate is off"
            cure = "set selection.prior: train, or calibrate with selection.temperature: dev"
            found.append(f"round {one['number']}: {doubt} by {error:.0%}; {cure}")
        for name, threshold in (one["pseudo"] or {"thresholds": {}})["thresholds"].items():
            if threshold is None:
                found.append(f"round {one['number']}: no threshold of {name} reaches the precision on dev, so it got no pseudo-label")
    return found


def _shown(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['difference']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})"
