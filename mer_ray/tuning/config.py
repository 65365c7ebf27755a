"""What a search is made of."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import NOT_IDENTITY, Config, load_yaml, where_or_how_fast
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugins import TAG
from mer_ray.objectives.metrics import EMOTION_METRICS, LOWER_IS_BETTER
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.training.config import LARGEST_SEED, TrainConfig
from mer_ray.tuning.draws import COSTS, sample_draws
from mer_ray.tuning.space import Space, parse_space
from mer_ray.tuning.targets import SelftrainTarget, Target, TrainTarget, check_search

# The key of a start that is read from a config.
CONFIG_START = "config"


class TpeSampler(Config):
    """Tree-structured Parzen estimator: multivariate, grouped by conditions, running trials count as bad (constant liar)."""

    name: Literal["tpe"] = "tpe"
    num_random: int = Field(10, ge=1, description="trials drawn at random before the estimator has any say")


class RandomSampler(Config):
    """Every trial drawn at random: what other samplers are compared with."""

    name: Literal["random"]


class NsgaSampler(Config):
    """NSGA-II: generations of `population` trials."""

    name: Literal["nsga2"]
    population: int = Field(50, ge=2)


class GpSampler(Config):
    """Gaussian process, for spaces that have every parameter in every trial."""

    name: Literal["gp"]
    num_random: int = Field(10, ge=1)


class AshaPruner(Config):
    """Of the trials that reach a rung, the best 1 / `reduction` go on; rungs begin at `grace` reports."""

    name: Literal["asha"] = "asha"
    grace: int = Field(1, ge=1)
    reduction: float = Field(2.0, gt=1, allow_inf_nan=False)


class MedianPruner(Config):
    """A trial worse than the median of the others at the same report ends, from `grace` reports and `min_trials` trials on."""

    name: Literal["median"]
    grace: int = Field(1, ge=1)
    min_trials: int = Field(3, ge=1)


class SearchBudget(Config):
    """When a search ends: after `trials` finished ones, `hours`, or GPUs for `usd`; what was spent before a resume counts."""

    trials: int = where_or_how_fast(60, ge=1, le=1_000_000)
    hours: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)
    usd: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)


class TuneConfig(Config):
    """A search: `train`, or `selftrain`, is the config of that verb without `out`, with searched values in any place but those of the data.

    `objectives`: metrics of the development data, `milliseconds_per_clip` or `parameters`; the first one announces, several give a
    Pareto front and no pruning. `starts` are known good values, tried first: parameters, or {config: FILE}, whose values are read where
    something is searched (such as what `probe` writes). The first of them is the recipe that the best is compared with. The best
    `finalists` trials and the starts are trained with `final_seeds`; the best of these on development data is judged on test.

    `storage`: null is a SQLite file in `out`; `journal:PATH`, `sqlite:PATH` or `postgresql://user@host/database`, whose password comes from
    PGPASSWORD or ~/.pgpass. A search that was interrupted goes on with `resume`. `max_concurrent` null: as many trials as the cluster
    has CPUs, or shares of a GPU (`trials_per_gpu`). The same failure `max_same_failures` times stops the search.
    """

    out: Path = where_or_how_fast()
    # The identity of these two is told by `more_identity`.
    train: dict[str, Any] | None = where_or_how_fast(None)
    selftrain: dict[str, Any] | None = where_or_how_fast(None)
    objectives: list[str] = Field([EMOTION_METRICS[0]], min_length=1)
    sampler: Annotated[TpeSampler | RandomSampler | NsgaSampler | GpSampler, Field(discriminator="name")] = TpeSampler()
    pruner: Annotated[AshaPruner | MedianPruner, Field(discriminator="name")] | None = AshaPruner()
    starts: list[dict[str, Any]] = Field([])
    seed: int = Field(0, ge=0)
    finalists: int = Field(5, ge=1, le=1000)
    final_seeds: list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]] = Field([0, 1, 2, 3, 4], min_length=1)
    study: str | None = None
    storage: str | None = where_or_how_fast(None)
    budget: SearchBudget = where_or_how_fast(SearchBudget())
    price_per_gpu_hour: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)
    resume: bool = where_or_how_fast(False)
    max_concurrent: int | None = where_or_how_fast(None, ge=1, le=100_000)
    trials_per_gpu: int = where_or_how_fast(4, ge=1, le=1000)
    max_same_failures: int = where_or_how_fast(5, ge=1)
    max_failures: int = where_or_how_fast(2, ge=0, description="how often a trial is begun anew whose worker died")

    @property
    def space(self) -> Space:
        """What may be drawn."""
        return parse_space(self.target.raw, self.target.where)

    @property
    def target(self) -> Target:
        """What is searched."""
        if self.selftrain is not None:
            return SelftrainTarget(self.selftrain)
        assert self.train is not None
        return TrainTarget(self.train)

    def start_params(self) -> list[dict[str, Any]]:
        """The known good settings as parameters of trials.

        Raises:
            ConfigError: a file that is not there, or a value that cannot be drawn.

        """
        space, found = self.space, []
        for number, start in enumerate(self.starts):
            where = f"starts.{number}"
            if set(start) == {CONFIG_START}:
                path = Path(start[CONFIG_START])
                read = load_yaml(path)
                found.append(space.read_back(read, f"{where}: {path}", self._defaults_of(read)))
            else:
                found.append(space.expand_start(start, where))
        return found

    def _defaults_of(self, read: dict[str, Any]) -> dict[str, Any]:
        """A config with the defaults of its verb; what a config needs and this one lacks says nothing."""
        sample = next(sample_draws(self.space, self.seed, 1))
        lent: dict[str, Any] = {key: sample[key] for key in ("manifest", "store", "inputs", "train") if key in sample and key not in read}
        filled = self.target.parse({**lent, **{key: value for key, value in read.items() if key != "out"}}).model_dump(mode="json")
        return {key: value for key, value in filled.items() if key not in lent}

    @property
    def workers_per_trial(self) -> int:
        """Above 1, each trial is trained by a group of workers."""
        return self._sample.worker_range[1]

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]:
        """Where trials compute."""
        return self._sample.device

    @property
    def _sample(self) -> TrainConfig:
        """A training as drawn; what is the same for all trials can be read from it."""
        return self.target.training(next(sample_draws(self.space, self.seed, 1)))

    @property
    def scratch(self) -> Path:
        """What Ray leaves while a search runs; all nodes see it."""
        return self.out / "ray"

    @property
    def study_name(self) -> str:
        """The name in the storage: in a file of its own the folder's, elsewhere one that the user gave."""
        return self.study or self.out.name

    @property
    def storage_file(self) -> Path | None:
        """The file of a storage that is named and is no server; as in URLs, `sqlite:///a` is the relative path `a`."""
        kind, _, place = (self.storage or "").partition(":")
        return Path(place.removeprefix("///")) if kind in ("journal", "sqlite") else None

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """Which way each objective is better."""
        return ["minimize" if name in COSTS or name.endswith(LOWER_IS_BETTER) else "maximize" for name in self.objectives]

    def more_identity(self) -> dict[str, Any]:
        """What is searched without what says only where or how fast, plug-ins and starts by what their files hold."""
        starts = self.start_params()
        if self.selftrain is None:
            return {"starts": starts, "train": _identity_of_raw(TrainConfig, self.train or {})}
        train = _identity_of_raw(TrainConfig, self.selftrain.get("train", {}))
        return {"starts": starts, "selftrain": {**_identity_of_raw(SelftrainConfig, self.selftrain), "train": train}}

    @field_validator("final_seeds")
    @classmethod
    def _refuse_doubles(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("names one twice")
        return seeds

    @field_validator("storage")
    @classmethod
    def _known_storage(cls, storage: str | None) -> str | None:
        if storage is None:
            return None
        kind = storage.partition(":")[0]
        if kind not in ("journal", "sqlite", "postgresql"):
            raise ValueError(f"{storage!r}: allowed: journal:PATH, sqlite:PATH, postgresql://user@host/database, or null for a file in out")
        if re.match(r"postgresql://[^@/?]*:.*@|.*[?&]password=", storage):
            raise ValueError("holds a password, which would be written beside the results; set PGPASSWORD, or use ~/.pgpass")
        return storage

    @model_validator(mode="after")
    def _check(self) -> "TuneConfig":
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives: names one twice")
        if self.objectives[0] in COSTS:
            raise ValueError(f"objectives: the first is a metric that announces the best, not {self.objectives[0]}")
        if len(self.objectives) > 1 and self.pruner is not None and "pruner" in self.model_fields_set:
            raise ValueError("pruner: a trial with several objectives has no single curve to prune by; set pruner: null")
        if self.storage is not None and self.storage.startswith("postgresql") and self.study is None:
            raise ValueError("study: a database holds many searches; name this one")
        if self.budget.usd is not None and not self.price_per_gpu_hour:
            raise ValueError("budget.usd: needs price_per_gpu_hour, the price of one GPU for an hour in USD")
        if (self.train is None) == (self.selftrain is None):
            raise ValueError("train: name what is searched: train, or selftrain, one of the two")
        misplaced = [key for key in ("out", "candidates") if key in self.target.raw]
        if misplaced:
            raise ValueError(f"{self.target.where}.{misplaced[0]}: belongs to the search; leave it out here")
        try:
            check_search(self.target, [one for one in self.starts if set(one) != {CONFIG_START}], self.objectives, self.seed)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


def _identity_of_raw(config_class: type[Config], raw: dict[str, Any]) -> dict[str, Any]:
    places = {name for name, field in config_class.model_fields.items() if field.json_schema_extra == NOT_IDENTITY}
    return {key: _without_file_names(value) for key, value in raw.items() if key not in places}


def _without_file_names(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_file_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_file_names(item) for key, item in value.items()}
    return {**kept, "file": digest_file(Path(value["file"]))} if value.get("name") == TAG and "file" in value else kept
