"""What a run costs: its size, its time and its memory, and what it gained on its training clips alone, as run.json has them."""

from dataclasses import dataclass

from mer_ray.reporting.runs import Run


@dataclass(frozen=True)
class Cost:
    """Means over the trainings of a run; None where the run does not know, as one of an older version.

    `train_loss` and `dev_loss`: one loss of predictions of training and of dev clips, None also without a dev set.
    """

    num_parameters: int | None
    seconds_per_epoch: float | None
    milliseconds_per_clip: float | None
    peak_memory_mb: float | None
    epochs: float | None
    train_loss: float | None
    dev_loss: float | None


def cost_of(run: Run) -> Cost:
    """The run's cost."""
    found, losses = run.facts.get("cost") or {}, run.facts.get("losses") or {}
    return Cost(
        run.facts["model"].get("num_parameters"),
        found.get("seconds_per_epoch"),
        found.get("milliseconds_per_clip"),
        found.get("peak_memory_mb"),
        found.get("epochs"),
        losses.get("train_loss"),
        losses.get("dev_loss"),
    )
