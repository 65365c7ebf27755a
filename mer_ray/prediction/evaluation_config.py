"""What an evaluation is made of."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.objectives.bootstrap import NUM_RESAMPLES
from mer_ray.objectives.pairing import NUM_SWAPS
from mer_ray.prediction.labels import MANIFEST_SUFFIXES
from mer_ray.prediction.noise_config import NoiseConfig
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
    """A scoring whose scores go to `out` (JSON): of files of predictions, or with `noise` of a bundle on degraded media.

    With `noise` the labels are a manifest, whose media are degraded; the predictions go beside the scores as .parquet, a page as .html.
    """

    predictions: tuple[Path, ...] = where_or_how_fast(())
    noise: NoiseConfig | None = None
    out: Path = where_or_how_fast()

    @property
    def predictions_out(self) -> Path:
        """Where the predictions of a bundle on degraded media go."""
        return self.out.with_suffix(".parquet")

    @property
    def page_out(self) -> Path:
        """Where the page of these goes."""
        return self.out.with_suffix(".html")

    @model_validator(mode="after")
    def _files_or_media(self) -> Self:
        if (self.noise is None) == (not self.predictions):
            raise ValueError("give either predictions (files to score) or noise (a bundle, for degraded media), and not both")
        if self.noise is None:
            return self
        if self.train_labels is not None:
            raise ValueError("train_labels: are compared with files of predictions; leave it out, or noise")
        if self.labels.suffix.lower() not in MANIFEST_SUFFIXES:
            raise ValueError(
                f"labels: {self.labels}: noise needs a manifest (.parquet), which says where the media are; make one with "
                "`mer-ray manifest`. Other tables are for files of predictions, without noise"
            )
        if self.out.suffix != ".json":
            raise ValueError(f"out: {self.out}: the scores are written as .json, predictions and page beside them; name the file so")
        return self
