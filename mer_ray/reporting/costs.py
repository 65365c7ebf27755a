"""What a run costs: its size, its time and its memory, as run.json has them."""

from dataclasses import dataclass

from mer_ray.reporting.runs import Run


@dataclass(frozen=True)
class Cost:
    """Means over the trainings of a run; None where the run does not know, as one of an older version."""

    num_parameters: int | None
    seconds_per_epoch: float | None
    milliseconds_per_clip: float | None
    peak_memory_mb: float | None
    epochs: float | None


def cost_of(run: Run) -> Cost:
    """The run's cost."""
    found = run.facts.get("cost") or {}
    return Cost(
        run.facts["model"].get("num_parameters"),
        found.get("seconds_per_epoch"),
        found.get("milliseconds_per_clip"),
        found.get("peak_memory_mb"),
        found.get("epochs"),
    )
