"""What can be searched, and what of it: the configs of `train` and of `selftrain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.objectives import metric_names
from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.training.config import FoldsProtocol, TrainConfig
from mer_ray.tuning.draws import COSTS, NOWHERE, sample_draws, to_training
from mer_ray.tuning.final import FinalRun, selftrain_finally, train_finally
from mer_ray.tuning.search_data import read_search_data
from mer_ray.tuning.space import find_mappings, parse_space
from mer_ray.tuning.trials import Selftrainings, Trainings

# Enough that most mistakes in options of a choice show before a search starts.
NUM_SAMPLES = 64
# The data, the protocol and how trials are run are the same for all of them.
FIXED = {"manifest", "store", "values", "protocol", "seeds", "allow_plugins", "num_workers", "num_parallel_fits", "device"}
FIXED |= {"precision", "compile", "deterministic", "vectorised", "keep_best", "checkpoint_interval_s", "max_failures"}


@dataclass(frozen=True)
class TrainTarget:
    """Trainings: a config of `train` without `out`."""

    raw: Mapping[str, Any]
    where = "train"
    fixed = FIXED

    def parse(self, drawn: Mapping[str, Any], out: Path = NOWHERE) -> TrainConfig:
        """As `to_training`."""
        return to_training(drawn, out)

    def training(self, drawn: Mapping[str, Any]) -> TrainConfig:
        """The draw itself."""
        return to_training(drawn)

    def check_sample(self, drawn: Mapping[str, Any], objectives: Sequence[str]) -> None:
        """Refuse a protocol without test data for the end, fits at once, and objectives that the task does not have.

        Raises:
            ConfigError: says which.

        """
        sample = self.training(drawn)
        _check_workers(sample, self.where)
        if isinstance(sample.protocol, FoldsProtocol) and sample.protocol.test_folds is None:
            raise ConfigError(
                "train: protocol.test_folds: required; name the folds that the search never looks at and that judge the best, e.g. [0]"
            )
        if not isinstance(sample.protocol, FoldsProtocol) and sample.protocol.dev is None:
            raise ConfigError("train: protocol.dev: required; trials are scored on it")
        allowed = (*metric_names(sample.values), *COSTS)
        if not isinstance(sample.protocol, FoldsProtocol) and not sample.protocol.test:
            raise ConfigError("train: protocol.test: required; name the split that judges the best")
        unknown = next((name for name in objectives if name not in allowed), None)
        if unknown is not None:
            raise ConfigError(f"objectives: {unknown!r} is not a metric of this task; allowed: {', '.join(allowed)}")

    def read(self, drawn: Mapping[str, Any]) -> Trainings:
        """Read clips and features."""
        return Trainings(read_search_data(self.raw, self.training(drawn), self.where))

    def with_seeds(self, drawn: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
        """A draw with these seeds."""
        return {**drawn, "seeds": list(seeds)}

    def finish(self, drawn: Mapping[str, Any], out: Path, metric: str) -> tuple[dict[str, Any], FinalRun]:
        """Train; the config for `mer-ray train`, and how it does on test."""
        config = self.parse(drawn, out)
        return config.model_dump(mode="json"), train_finally(config, metric)

    def absolute(self) -> dict[str, Any]:
        """`raw` with absolute manifest and store."""
        return _absolute(self.raw)


@dataclass(frozen=True)
class SelftrainTarget:
    """Self-trainings: a config of `selftrain` without `out`."""

    raw: Mapping[str, Any]
    where = "selftrain"
    fixed = {f"train.{key}" for key in FIXED} | {"unlabelled", "truth", "folds_as", "budget_s", "compare_equal_steps"}

    def parse(self, drawn: Mapping[str, Any], out: Path = NOWHERE) -> SelftrainConfig:
        """The self-training of a draw.

        Raises:
            ConfigError: what `selftrain` would refuse.

        """
        return parse_config(SelftrainConfig, {**drawn, "out": str(out)}, self.where)

    def training(self, drawn: Mapping[str, Any]) -> TrainConfig:
        """That of the first teacher, over all splits."""
        config = self.parse(drawn)
        return config.training_of(config.teachers[0], is_student=False)

    def check_sample(self, drawn: Mapping[str, Any], objectives: Sequence[str]) -> None:
        """Refuse fits at once, and objectives other than the metric that chooses the round.

        Raises:
            ConfigError: says which.

        """
        config = self.parse(drawn)
        _check_workers(config.train, f"{self.where}: train")
        if config.train.worker_range[1] > 1 and config.budget_s is not None:
            raise ConfigError(f"{self.where}: budget_s: workers of one trial have a clock each; leave it out, or train.num_workers")
        if list(objectives) != [config.train.select_metric]:
            raise ConfigError(f"objectives: of a self-training [{config.train.select_metric}], its train.select_metric, on dev")

    def read(self, drawn: Mapping[str, Any]) -> Selftrainings:
        """Read clips and features."""
        return Selftrainings(read_search_data(self.raw, self.training(drawn), self.where))

    def with_seeds(self, drawn: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
        """A draw with these seeds."""
        return {**drawn, "train": {**drawn["train"], "seeds": list(seeds)}}

    def finish(self, drawn: Mapping[str, Any], out: Path, metric: str) -> tuple[dict[str, Any], FinalRun]:
        """Run all rounds; the config for `mer-ray selftrain`, and how it does on test."""
        config = self.parse(drawn, out)
        values = config.model_dump(mode="json")
        # It follows from `out`, which may be another one.
        del values["train"]["out"]
        return values, selftrain_finally(config, metric)

    def absolute(self) -> dict[str, Any]:
        """`raw` with absolute manifest, store and truth."""
        truth = {"truth": str(Path(self.raw["truth"]).resolve())} if self.raw.get("truth") else {}
        return {**self.raw, "train": _absolute(self.raw["train"]), **truth}


Target = TrainTarget | SelftrainTarget


def check_search(target: Target, starts: Sequence[Mapping[str, Any]], objectives: Sequence[str], seed: int) -> None:
    """Refuse a search of which a part does not parse.

    Raises:
        ConfigError: a searched value that is not well formed or stands where the data are named, a drawn config that its verb refuses, a
            known good setting that cannot be drawn, or what `check_sample` refuses.

    """
    space = parse_space(target.raw, target.where)
    for name in space.dimensions:
        if any(name == key or name.startswith(f"{key}.") for key in target.fixed):
            raise ConfigError(f"{target.where}: {name}: is the same for all trials, and cannot be searched")
        if name == "" or any(key.startswith(f"{name}.") for key in target.fixed):
            whole = f"{target.where}: {name}" if name else target.where
            raise ConfigError(f"{whole}: holds what is the same for all trials, and cannot be searched as a whole; search its values")
    for place in find_mappings(target.raw, "encoder"):
        _refuse_empty_inputs(place, target.where)
    samples = list(sample_draws(space, seed, NUM_SAMPLES))
    for drawn in samples:
        target.parse(drawn)
    for number, start in enumerate(starts):
        space.expand_start(start, f"starts.{number}")
    target.check_sample(samples[0], objectives)


def _refuse_empty_inputs(place: Mapping[str, Any], where: str) -> None:
    layers = place.get("layers")
    if isinstance(place["encoder"], Mapping):
        raise ConfigError(f"{where}: inputs: encoder: search whole inputs: {{search: choice, of: [{{encoder: a}}, {{encoder: b}}]}}")
    if isinstance(layers, Mapping) and layers.get("at_least") == 0:
        raise ConfigError(
            f"{where}: inputs: {place['encoder']}: layers: at_least: 0 would leave an input without layers; search over the inputs: "
            "{search: subset, of: [{encoder: ...}]}"
        )


def _check_workers(training: TrainConfig, where: str) -> None:
    if training.num_parallel_fits > 1:
        raise ConfigError(f"{where}: num_parallel_fits: trials run side by side, fits of one trial one after the other; leave it out")
    if isinstance(training.num_workers, tuple):
        raise ConfigError(f"{where}: num_workers: {list(training.num_workers)}: a trial begins anew when a worker dies; name one number")


def _absolute(train: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(train)
    for key in ("manifest", "store"):
        if isinstance(train.get(key), str) and "://" not in train[key]:
            found[key] = str(Path(train[key]).resolve())
    return found
