"""What a probe of a store is made of."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mer_ray.core.config import Config, Place, where_or_how_fast
from mer_ray.core.manifest import VALUE_COLUMNS
from mer_ray.corpora.folds import FoldsConfig
from mer_ray.objectives import metric_names
from mer_ray.store.schemas import Statistic
from mer_ray.training.config import ValueName

Pooling = Literal["mean", "std", "mean+std"]
# Below it single precision says more about rounding than about the features.
LEAST_PENALTY = 1e-3


class ProbeConfig(Config):
    """Which layers of a store tell most about the labels, by ridge regression over folds of speakers.

    `encoders`: all of clean media, or names (`name@identity8` where a name is not enough). `values`: all that the clips have, or names.
    `folds`: None takes those of the manifest or, where it has none, five stratified ones by speaker; of a manifest with splits only the
    split `train` is folded then. `penalties` are per clip and standardised feature; each fold takes the best of them on other folds.
    Clips of `test_folds` take no part, so that these can judge what is chosen.

    The ranking is by `metric`. Its best `top` layers (per: ranking), or those of each modality (per: modality), become a config of `train`.
    """

    manifest: Path = where_or_how_fast()
    store: Place = where_or_how_fast()
    out: Path = where_or_how_fast(Path("probe"))
    encoders: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    poolings: list[Pooling] = Field(["mean", "std", "mean+std"], min_length=1)
    values: Literal["all"] | list[ValueName] = "all"
    folds: FoldsConfig | None = None
    test_folds: list[Annotated[int, Field(ge=0)]] | None = Field(None, min_length=1)
    penalties: list[Annotated[float, Field(ge=LEAST_PENALTY, le=1e6)]] = Field([0.01, 0.05, 0.2, 1.0, 5.0, 20.0, 100.0], min_length=1)
    metric: str = "weighted_f1"
    top: int = Field(3, ge=1, le=1000)
    per: Literal["ranking", "modality"] = "ranking"
    num_resamples: int = Field(1000, ge=100, le=100_000)
    seed: int = Field(0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = where_or_how_fast("auto")

    @property
    def page_out(self) -> Path:
        """The page with the heat maps."""
        return self.out / "report.html"

    @property
    def train_out(self) -> Path:
        """The config of `train`."""
        return self.out / "train.yaml"

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What is read of each layer."""
        found: tuple[Statistic, ...] = ("mean", "std")
        return tuple(one for one in found if any(one in pooling.split("+") for pooling in self.poolings))

    @field_validator("encoders", "poolings", "values", "penalties")
    @classmethod
    def _refuse_doubles(cls, listed: "str | list[object]") -> "str | list[object]":
        if isinstance(listed, list) and len(set(listed)) < len(listed):
            raise ValueError("names one twice")
        return listed

    @model_validator(mode="after")
    def _check_metric(self) -> "ProbeConfig":
        allowed = metric_names(VALUE_COLUMNS if self.values == "all" else self.values)
        if self.metric not in allowed:
            raise ValueError(f"metric: {self.metric!r} is not a metric of this task; allowed: {', '.join(allowed)}")
        return self
