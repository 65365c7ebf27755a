"""Layers of an encoder -> the streams that a model reads.

Shapes: N clips, D feature dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from mer_ray.batching.features import EncoderFeatures
from mer_ray.core.batch import StreamSpec
from mer_ray.core.config import Config
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import BoolArray, FloatArray

Statistic = Literal["mean", "std"]


class StreamConfig(Config):
    """What a model reads of one encoder.

    `encoder` is a name, or `name@identity8` where the store holds several of that name; `layers` are names or numbers (-1 = last);
    `combine` joins them: `concat` and `separate` (a stream per layer) take layers of any size, `sum` and `mean` of one size.
    `stream` names the result, by default after the encoder.
    """

    encoder: str
    layers: Literal["all"] | list[str | int] = "all"
    combine: Literal["concat", "sum", "mean", "separate"] = "concat"
    statistics: list[Statistic] = Field(default=["mean", "std"], min_length=1)
    stream: str | None = None

    def build(self, features: EncoderFeatures) -> "list[Stream]":
        """Make the streams of an encoder's features, which hold the layers of `pick_layers`.

        Raises:
            ConfigError: `sum` or `mean` over layers of different size.

        """
        name = self.stream or features.name
        parts = [self._statistics_of(features, layer) for layer in features.layers]
        if self.combine == "separate":
            return [self._stream(features, f"{name}/{layer}", (layer,), x_ND) for layer, x_ND in zip(features.layers, parts, strict=True)]
        if self.combine == "concat":
            return [self._stream(features, name, features.layers, np.concatenate(parts, axis=1))]
        if len({x_ND.shape[1] for x_ND in parts}) > 1:
            shown = ", ".join(f"{layer} {x_ND.shape[1]}" for layer, x_ND in zip(features.layers, parts, strict=True))
            raise ConfigError(
                f"inputs, {self.encoder}: combine: {self.combine} needs layers of one size, these have {shown}; use concat or separate"
            )
        x_ND: FloatArray = np.sum(parts, axis=0, dtype=np.float32)
        if self.combine == "mean":
            x_ND /= np.float32(len(parts))
        return [self._stream(features, name, features.layers, x_ND)]

    def _statistics_of(self, features: EncoderFeatures, layer: str) -> FloatArray:
        parts = [features.columns[f"{statistic}_{layer}"] for statistic in self.statistics]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _stream(self, features: EncoderFeatures, name: str, layers: tuple[str, ...], x_ND: FloatArray) -> "Stream":
        spec = StreamSpec(name, features.modality, int(x_ND.shape[1]))
        x_ND = np.where(features.present_N[:, None], x_ND, np.float32(0))
        return Stream(spec, features.encoder, layers, tuple(self.statistics), x_ND, features.present_N)


@dataclass(frozen=True)
class Stream:
    """One input of a model over all clips: `x_ND` float32, zero where `present_N` is False, and where it comes from."""

    spec: StreamSpec
    encoder: str
    layers: tuple[str, ...]
    statistics: tuple[str, ...]
    x_ND: FloatArray
    present_N: BoolArray


def pick_layers(config: StreamConfig, encoder: str, available: Sequence[str]) -> tuple[str, ...]:
    """The names of the layers that a config asks for, in its order.

    Raises:
        ConfigError: no layer of that name or number, or one named twice.

    """
    if config.layers == "all":
        return tuple(available)
    picked = []
    for layer in config.layers:
        if isinstance(layer, int) and -len(available) <= layer < len(available):
            picked.append(available[layer])
        elif isinstance(layer, str) and layer in available:
            picked.append(layer)
        else:
            last = len(available) - 1
            raise ConfigError(f"inputs, {encoder}: no layer {layer!r}; allowed: {', '.join(available)}, or numbers {-last - 1} to {last}")
    if not picked or len(set(picked)) < len(picked):
        raise ConfigError(f"inputs, {encoder}: layers {config.layers} name none, or one twice; name each layer once, or write all")
    return tuple(picked)


def build_streams(configs: Sequence[StreamConfig], features: Sequence[EncoderFeatures]) -> list[Stream]:
    """The streams of all inputs, in order; `features[i]` belongs to `configs[i]`.

    Raises:
        ConfigError: as `StreamConfig.build`, or two streams of one name.

    """
    streams = [stream for config, found in zip(configs, features, strict=True) for stream in config.build(found)]
    names = [stream.spec.name for stream in streams]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigError(f"inputs: two of them give the stream {double[0]!r}; set `stream: <name>` on one")
    return streams
