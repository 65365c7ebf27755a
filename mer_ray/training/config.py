"""What a training run is made of."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mer_ray.batching import Normalise, StreamConfig
from mer_ray.core.config import Config, Place, apply_overrides, parse_config, where_or_how_fast
from mer_ray.core.plugins import PluginHost
from mer_ray.models import AnyModel, AttentionConfig
from mer_ray.objectives import ClassWeights, ValueLoss, Weighting, metric_names

# What predictions store a seed in.
LARGEST_SEED = 2**31 - 1
ValueName = Literal["valence", "arousal", "dominance"]
WorkerCount = Annotated[int, Field(ge=1, le=10_000)]

# Of the dev rows, beside the metrics; lower is better.
LOSS = "loss"

# What candidates may not change: the data, the protocol, or where and how the run is done.
FIXED_BY_RUN = {"manifest", "store", "out", "inputs", "values", "protocol", "seeds", "candidates", "select_metric", "normalise"}
FIXED_BY_RUN |= {"allow_plugins", "num_workers", "num_parallel_fits", "device", "precision", "checkpoint_interval_s", "max_failures"}
FIXED_BY_RUN |= {"compile", "deterministic", "keep_best", "vectorised", "paired_share"}


class FoldsProtocol(Config):
    """The manifest's folds in turn as test; all clips of the other folds train. `dev: next_fold` takes the next fold out of training.

    With `test_folds` only these are tested: what was chosen without a look at them is judged by them.
    """

    name: Literal["folds"] = "folds"
    dev: Literal["none", "next_fold"] = "none"
    # Not as a field: the identities of runs without it stay what they were.
    test_folds: list[Annotated[int, Field(ge=0)]] | None = where_or_how_fast(None, min_length=1)

    def more_identity(self) -> dict[str, Any]:
        """The folds that are tested, where not all are."""
        return {} if self.test_folds is None else {"test_folds": sorted(self.test_folds)}

    @property
    def label(self) -> str:
        """As run.json and tables name it."""
        tested = "folds" if self.test_folds is None else f"tested on folds {', '.join(map(str, sorted(self.test_folds)))}"
        return tested if self.dev == "none" else f"{tested}, the next fold as dev"

    @property
    def has_dev(self) -> bool:
        """Whether there is a dev set for early stopping."""
        return self.dev != "none"

    @field_validator("test_folds")
    @classmethod
    def _once(cls, folds: list[int] | None) -> list[int] | None:
        if folds is not None and len(set(folds)) < len(folds):
            raise ValueError("names a fold twice")
        return folds


class SplitsProtocol(Config):
    """The manifest's splits by name: one trains, `dev` stops and selects, all of `test` are predicted."""

    name: Literal["splits"]
    train: str = "train"
    dev: str | None = "dev"
    test: list[str] = Field(["test"])

    @property
    def label(self) -> str:
        """As run.json and tables name it."""
        return f"splits, trained on {self.train}"

    @property
    def has_dev(self) -> bool:
        """Whether there is a dev set for early stopping."""
        return self.dev is not None

    @model_validator(mode="after")
    def _refuse_overlap(self) -> "SplitsProtocol":
        names = [self.train, *([self.dev] if self.dev else []), *self.test]
        if len(set(names)) < len(names):
            raise ValueError(f"train, dev and test are different splits; these are {', '.join(names)}")
        if self.dev is not None and "dev" in self.test:
            raise ValueError(f"test: predictions of the dev split {self.dev!r} are kept under the name dev; rename the test split 'dev'")
        return self


class EarlyStopping(Config):
    """Stop after `patience` epochs without a better dev `metric`, or lower dev `loss`; the best epoch's weights predict."""

    metric: str = "weighted_f1"
    patience: int = Field(15, ge=1, le=100_000)


class TrainConfig(PluginHost):
    """A run: what it reads, what it fits, how it is judged.

    `candidates` are sets of dotted changes to this config; each outer fold takes the one with the best `select_metric` in an inner
    loop over the other folds (with splits: on dev). `precision: auto` is bfloat16 autocast on a GPU and float32 on a CPU.
    A checkpoint is written at most every `checkpoint_interval_s`, and before a machine that says so is taken away.

    `num_workers` > 1 trains each fit by that many workers through Ray Train, which are started anew up to `max_failures` times; [min, max]
    goes on with fewer while a machine is lost. `num_parallel_fits` > 1 spreads folds and seeds over the cluster instead, a worker each.
    `vectorised` trains the seeds, and the folds of equally many batches, as one computation.

    `batch_size` clips make one step of the optimisers, computed in `accumulate` parts; batch statistics (vavl has them) are of a part.
    `modality_dropout` hides each modality of a training clip with this probability. `paired_share` of the training clips with several
    modalities keep all of them; each other one keeps one, drawn once per fit. `keep_best` epochs by the metric of early stopping leave
    their weights in the run.
    """

    manifest: Path = where_or_how_fast()
    store: Place = where_or_how_fast()
    out: Path = where_or_how_fast()
    inputs: list[StreamConfig] = Field(min_length=1)
    model: AnyModel = AttentionConfig()
    values: list[ValueName] = Field([])
    protocol: Annotated[FoldsProtocol | SplitsProtocol, Field(discriminator="name")] = FoldsProtocol()
    seeds: list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]] = Field([0], min_length=1)
    epochs: int = Field(60, ge=1, le=100_000)
    batch_size: int = Field(32, ge=1, le=1_000_000)
    accumulate: int = Field(1, ge=1, le=100_000)
    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warm_up: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the learning rate rises from 0")
    weight_decay: float = Field(1e-2, ge=0, allow_inf_nan=False)
    gradient_clip: float | None = Field(1.0, gt=0, allow_inf_nan=False)
    class_weights: ClassWeights = "none"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal_gamma: float = Field(0.0, ge=0, le=10)
    value_loss: ValueLoss = "mse"
    value_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    weighting: Weighting = "fixed"
    modality_dropout: float = Field(0.0, ge=0, lt=1)
    paired_share: float = Field(1.0, ge=0, le=1)
    early_stopping: EarlyStopping | None = None
    normalise: Normalise = "train"
    candidates: list[dict[str, Any]] = Field([])
    select_metric: str = "weighted_f1"
    vectorised: bool = False
    num_workers: WorkerCount | tuple[WorkerCount, WorkerCount] = where_or_how_fast(1)
    num_parallel_fits: int = where_or_how_fast(1, ge=1, le=10_000)
    max_failures: int = where_or_how_fast(3, ge=0, le=10_000)
    device: Literal["auto", "cpu", "cuda"] = where_or_how_fast("auto")
    precision: Literal["auto", "float32", "bfloat16"] = where_or_how_fast("auto")
    compile: bool = where_or_how_fast(False)
    deterministic: bool = where_or_how_fast(False)
    checkpoint_interval_s: float = where_or_how_fast(10.0, ge=0, allow_inf_nan=False)
    keep_best: int = where_or_how_fast(1, ge=1, le=1000)

    @property
    def worker_range(self) -> tuple[int, int]:
        """The least and the most workers of a fit."""
        return self.num_workers if isinstance(self.num_workers, tuple) else (self.num_workers, self.num_workers)

    @field_validator("seeds", "values")
    @classmethod
    def _refuse_doubles(cls, listed: list[Any]) -> list[Any]:
        if len(set(listed)) < len(listed):
            raise ValueError("names one twice")
        return listed

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        allowed = metric_names(self.values)
        asked = {"select_metric": self.select_metric} | (
            {"early_stopping.metric": self.early_stopping.metric} if self.early_stopping else {}
        )
        for key, metric in asked.items():
            known = (*allowed, LOSS) if key == "early_stopping.metric" else allowed
            if metric not in known:
                raise ValueError(f"{key}: {metric!r} is not a metric of this task; allowed: {', '.join(known)}")
        self._check_how()
        if self.early_stopping and not self.protocol.has_dev:
            raise ValueError("early_stopping needs a dev set; set protocol.dev (next_fold, or a split), or early_stopping: null")
        if self.candidates and self.protocol.name == "splits" and not self.protocol.has_dev:
            raise ValueError("candidates are chosen on dev when the protocol is splits; set protocol.dev, or leave candidates out")
        for number, changes in enumerate(self.candidates):
            fixed = sorted({key.partition(".")[0] for key in changes} & FIXED_BY_RUN)
            if fixed or not changes:
                raise ValueError(f"candidates.{number}: {'may not change ' + ', '.join(fixed) if fixed else 'changes nothing'}")
            self.candidate(number)
        return self

    def _check_how(self) -> None:
        low, high = self.worker_range
        if low > high:
            raise ValueError(f"num_workers: [{low}, {high}]: the least and the most, in this order")
        if high > 1 and (self.num_parallel_fits > 1 or self.vectorised):
            other = "vectorised" if self.vectorised else "num_parallel_fits"
            raise ValueError(f"num_workers: {self.num_workers} workers of one fit do not go with {other}; set one of the two")
        if self.weighting == "uncertainty" and self.value_weight == 0:
            raise ValueError("value_weight: 0 leaves weighting: uncertainty nothing to learn from values; leave values out, or raise it")
        if self.value_loss == "ccc" and not self.values:
            raise ValueError("value_loss: ccc needs values to predict; name some in values, or leave it out")
        if self.value_loss == "ccc" and self.accumulate > 1:
            raise ValueError("accumulate: concordance is no sum over parts of a batch; set accumulate: 1, or value_loss: mse")
        if self.keep_best > 1 and self.early_stopping is None:
            raise ValueError("keep_best: epochs are ranked by the metric of early_stopping; set it, or keep_best: 1")
        if self.vectorised and (self.num_parallel_fits > 1 or self.candidates):
            other = "candidates" if self.candidates else "num_parallel_fits"
            raise ValueError(f"vectorised: trains all fits of one config in one process, so {other} does not go with it; leave one out")
        if self.vectorised and (self.compile or self.accumulate > 1 or self.modality_dropout):
            raise ValueError("vectorised: does not go with compile, accumulate or modality_dropout; leave them out, or vectorised")
        if self.vectorised and self.paired_share < 1:
            raise ValueError("vectorised: every fit draws its own paired clips; set paired_share: 1, or leave vectorised out")

    def candidate(self, number: int | None) -> "TrainConfig":
        """The config with one candidate's changes, or as it is for None.

        Raises:
            ConfigError: a candidate sets an unknown key or a wrong value.

        """
        base = self.model_dump(mode="json") | {"candidates": []}
        with self.same_plugins():
            if number is None:
                return TrainConfig.model_validate(base)
            changes = [f"{key}={json.dumps(value)}" for key, value in self.candidates[number].items()]
            return parse_config(TrainConfig, apply_overrides(base, changes), f"candidates.{number}")
