"""From a search's config to a training's: what may be searched, and whether what is drawn can be trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.objectives import metric_names
from mer_ray.training.config import FoldsProtocol, TrainConfig
from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.space import Dimension, Space, find_mappings, parse_space

WHERE = "train"
# Trials write nothing.
NOWHERE = Path("trials-write-nothing")
# Of a trial's models, beside the metrics of its predictions; lower is better.
MILLISECONDS_PER_CLIP = "milliseconds_per_clip"
PARAMETERS = "parameters"
COSTS = (MILLISECONDS_PER_CLIP, PARAMETERS)
# The data, the protocol and how trials are run are the same for all of them.
FIXED_BY_SEARCH = {"manifest", "store", "values", "protocol", "seeds", "allow_plugins", "num_workers", "num_parallel_fits", "device"}
FIXED_BY_SEARCH |= {"precision", "compile", "deterministic", "vectorised", "keep_best", "checkpoint_interval_s", "max_failures"}
# Enough that most mistakes in options of a choice show before a search starts.
NUM_SAMPLES = 64


def check_search(train: Mapping[str, Any], starts: Sequence[Mapping[str, Any]], objectives: Sequence[str], seed: int) -> None:
    """Refuse a search of which a part does not parse.

    Raises:
        ConfigError: a searched value that is not well formed or stands where the data are named, a drawn config that `train` refuses, a
            known good setting that cannot be drawn, an objective that the task does not have, or a protocol without test data for the end.

    """
    space = parse_space(train, WHERE)
    fixed = next((name for name in space.dimensions if name.partition(".")[0] in FIXED_BY_SEARCH), None)
    if fixed is not None:
        raise ConfigError(f"{WHERE}: {fixed}: is the same for all trials, and cannot be searched")
    samples = [to_training(drawn) for drawn in sample_draws(space, seed, NUM_SAMPLES)]
    for number, start in enumerate(starts):
        space.expand_start(start, f"starts.{number}")
    if samples[0].worker_range[1] > 1 or samples[0].num_parallel_fits > 1:
        key = "num_workers" if samples[0].worker_range[1] > 1 else "num_parallel_fits"
        raise ConfigError(f"{WHERE}: {key}: a trial has one worker, trials run side by side; leave it out")
    _check_protocol(samples[0])
    allowed = (*metric_names(samples[0].values), *COSTS)
    unknown = next((name for name in objectives if name not in allowed), None)
    if unknown is not None:
        raise ConfigError(f"objectives: {unknown!r} is not a metric of this task; allowed: {', '.join(allowed)}")


def to_training(drawn: Mapping[str, Any], out: Path = NOWHERE) -> TrainConfig:
    """The config of a training with these values, which writes to `out` where it is run as a training.

    Raises:
        ConfigError: what `train` would refuse.

    """
    return parse_config(TrainConfig, {**drawn, "out": str(out)}, WHERE)


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
