"""From a search's config to a training's: what may be searched, and whether what is drawn can be trained."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.objectives import metric_names
from mer_ray.training.config import FoldsProtocol, TrainConfig
from mer_ray.tuning.config import COSTS, TuneConfig
from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.space import Dimension, Space, find_mappings, parse_space

WHERE = "train"
# The data, the protocol and how trials are run are the same for all of them.
FIXED_BY_SEARCH = {"manifest", "store", "values", "protocol", "seeds", "allow_plugins", "num_workers", "num_parallel_fits", "device"}
FIXED_BY_SEARCH |= {"precision", "compile", "deterministic", "vectorised", "keep_best", "checkpoint_interval_s", "max_failures"}
# Enough that most mistakes in options of a choice show before a search starts.
NUM_SAMPLES = 64


def search_space(config: TuneConfig) -> Space:
    """The space of a search, every part of which is known to parse.

    Raises:
        ConfigError: a searched value that is not well formed or stands where the data are named, a drawn config that `train` refuses, an
            objective that the task does not have, or a protocol that leaves no test data for the end.

    """
    space = parse_space(config.train, WHERE)
    fixed = next((name for name in space.dimensions if name.partition(".")[0] in FIXED_BY_SEARCH), None)
    if fixed is not None:
        raise ConfigError(f"{WHERE}: {fixed}: is the same for all trials, and cannot be searched")
    samples = [to_training(config, drawn) for drawn in sample_draws(space, config.seed, NUM_SAMPLES)]
    for number, start in enumerate(config.starts):
        space.expand_start(start, f"starts.{number}")
    _check_protocol(samples[0])
    allowed = (*metric_names(samples[0].values), *COSTS)
    unknown = next((name for name in config.objectives if name not in allowed), None)
    if unknown is not None:
        raise ConfigError(f"objectives: {unknown!r} is not a metric of this task; allowed: {', '.join(allowed)}")
    return space


def to_training(config: TuneConfig, drawn: Mapping[str, Any]) -> TrainConfig:
    """The config of a training with these values.

    Raises:
        ConfigError: what `train` would refuse.

    """
    return parse_config(TrainConfig, {**drawn, "out": str(config.out / "best")}, WHERE)


def settle_record(record: TrialRecord, space: Space) -> TrialRecord:
    """A trial with its parameters as they acted, and the layers that it reads of each encoder; one that still runs stays as it is."""
    if not record.is_finished:
        return record
    params = space.settle(record.params)
    inputs: dict[str, list[str]] = {}
    for stream in find_mappings(space.fill(lambda dimension: params[dimension.name]).get("inputs"), "encoder"):
        layers = stream.get("layers", "all")
        seen = inputs.setdefault(str(stream["encoder"]), [])
        seen += [name for name in ([layers] if isinstance(layers, str) else map(str, layers)) if name not in seen]
    return replace(record, params=params, inputs=inputs)


def sample_draws(space: Space, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Configs with values drawn at random, in turn with each option of each choice."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield space.fill(lambda dimension, number=number: _draw(dimension, rng, number))


def _draw(dimension: Dimension, rng: np.random.Generator, number: int) -> Any:
    if dimension.kind == "choice":
        # The first draws take the options in turn, so that each is seen once whatever chance does.
        place = number if number < len(dimension.options) else int(rng.integers(len(dimension.options)))
        return dimension.options[place]
    if dimension.kind == "int":
        step = int(dimension.step or 1)
        return int(dimension.low) + step * int(rng.integers((int(dimension.high) - int(dimension.low)) // step + 1))
    return float(rng.uniform(dimension.low, dimension.high))


def _check_protocol(sample: TrainConfig) -> None:
    protocol = sample.protocol
    if isinstance(protocol, FoldsProtocol):
        if protocol.test_folds is None:
            raise ConfigError(
                f"{WHERE}: protocol.test_folds: required; name the folds that the search never looks at and that judge the best, e.g. [0]"
            )
    elif protocol.dev is None:
        raise ConfigError(f"{WHERE}: protocol.dev: required; trials are scored on it")
