"""From a search's config to a training's: what may be searched, and whether what is drawn can be trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mer_ray.core.config import parse_config
from mer_ray.training.config import TrainConfig
from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.space import Dimension, Space, find_mappings

WHERE = "train"
# Trials write nothing.
NOWHERE = Path("trials-write-nothing")
# Of a trial's models, beside the metrics of its predictions; lower is better.
MILLISECONDS_PER_CLIP = "milliseconds_per_clip"
PARAMETERS = "parameters"
COSTS = (MILLISECONDS_PER_CLIP, PARAMETERS)


def to_training(drawn: Mapping[str, Any], out: Path = NOWHERE) -> TrainConfig:
    """The config of a training with these values, which writes to `out` where it is run as a training.

    Raises:
        ConfigError: what `train` would refuse.

    """
    return parse_config(TrainConfig, {**drawn, "out": str(out)}, WHERE)


def settle_record(record: TrialRecord, space: Space, known: Mapping[str, Sequence[str]]) -> TrialRecord:
    """A trial with its parameters as they acted, and the layers that it reads of each encoder; one that still runs stays as it is.

    `known`: the layers of each encoder in order, for those that are named by number.
    """
    if not record.is_finished:
        return record
    params = space.settle(record.params)
    inputs: dict[str, list[str]] = {}
    for stream in find_mappings(space.fill(lambda dimension: params[dimension.name]), "encoder"):
        encoder, layers = str(stream["encoder"]), stream.get("layers", "all")
        seen = inputs.setdefault(encoder, [])
        seen += [
            name
            for name in ([layers] if isinstance(layers, str) else [_layer_name(one, known[encoder]) for one in layers])
            if name not in seen
        ]
    return replace(record, params=params, inputs=inputs)


def _layer_name(layer: str | int, known: Sequence[str]) -> str:
    """A number beyond the layers stays as it is: that trial failed by it."""
    return known[layer] if isinstance(layer, int) and -len(known) <= layer < len(known) else str(layer)


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
