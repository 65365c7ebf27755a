"""What an evaluation is made of."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.objectives.bootstrap import NUM_RESAMPLES
from mer_ray.objectives.pairing import NUM_SWAPS
from mer_ray.prediction.protocols import PROTOCOLS

ProtocolName = Literal[
    "mer2023-multi", "mer2023-noise", "mer2023-semi", "mer2024-semi", "mer2024-noise", "mer2025-semi", "emotion", "values"
]


class ScoringConfig(Config):
    """Which predictions are scored against which labels, and by whose rule.

    Predictions are CSV or Parquet with `clip_id` or `name`, `emotion` or `discrete`, and values; labels are such a file or a
    manifest, of which `split` takes a part. `metric` puts another figure first where no challenge sets one. `classes` are the
    allowed emotions in order where neither the protocol, a manifest nor `prob_` columns name them. `train_labels` is what the
    balance of the predicted classes is compared with. `num_resamples` make the intervals, `num_swaps` the p-values.
    """

    predictions: tuple[Path, ...] = where_or_how_fast(min_length=1)
    labels: Path = where_or_how_fast()
    protocol: ProtocolName
    split: str | None = None
    metric: str | None = None
    classes: tuple[str, ...] | None = None
    train_labels: Path | None = where_or_how_fast(None)
    seed: int = Field(default=0, ge=0)
    num_resamples: int = Field(default=NUM_RESAMPLES, ge=1, le=1_000_000)
    num_swaps: int = Field(default=NUM_SWAPS, ge=1, le=1_000_000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        protocol = PROTOCOLS[self.protocol]
        if protocol.is_challenge:
            for key in ("metric", "classes"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key}: {self.protocol} sets it itself; leave it out, or choose protocol emotion or values")
        for key, listed in (("predictions", self.predictions), ("classes", self.classes or ())):
            twice = sorted({str(item) for item in listed if listed.count(item) > 1})
            if twice:
                raise ValueError(f"{key}: names {', '.join(twice)} twice")
        return self


class EvaluateConfig(ScoringConfig):
    """A scoring whose scores go to `out` (JSON)."""

    out: Path = where_or_how_fast()
