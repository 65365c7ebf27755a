"""Layers of an encoder -> the streams that a model reads.

Shapes: N clips, R rows (N clips of a pooled stream, all frames of others), D feature dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from mer_ray.batching.features import EncoderFeatures, Frames, StoredArray
from mer_ray.core.batch import StreamSpec
from mer_ray.core.config import Config, identity_fields, where_or_how_fast
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import BoolArray

Statistic = Literal["mean", "std"]


class StreamConfig(Config):
    """What a model reads of one encoder.

    `encoder` is a name, or `name@identity8` where the store holds several of that name; `layers` are names or numbers (-1 = last);
    `combine` joins them: `concat` and `separate` (a stream per layer) take layers of any size, `sum` and `mean` of one size.
    `stream` names the result, by default after the encoder. A stream is pooled by its `statistics` over time; with `frames` it is the
    frames themselves, at most the first `max_frames` of a clip, of layers whose sequence was kept in the extraction.

    `augment` names copies of the encoder over degraded media, which an extraction has made: in each epoch a training clip has its clean
    features or those of one of these. All else reads the clean ones.
    """

    encoder: str
    layers: Literal["all"] | list[str | int] = "all"
    combine: Literal["concat", "sum", "mean", "separate"] = "concat"
    statistics: list[Statistic] = Field(default=["mean", "std"])
    stream: str | None = None
    frames: bool = False
    max_frames: int | None = Field(default=None, ge=1)
    # Not as a field: the identities of runs without it stay what they were.
    augment: tuple[DegradationConfig, ...] = where_or_how_fast(())

    def more_identity(self) -> dict[str, Any]:
        """The degraded copies, where there are any."""
        return {"augment": [identity_fields(one) for one in self.augment]} if self.augment else {}

    @model_validator(mode="before")
    @classmethod
    def _frames_have_no_statistics(cls, data: Any) -> Any:
        return {"statistics": [], **data} if isinstance(data, dict) and data.get("frames") is True else data

    @field_validator("augment")
    @classmethod
    def _can_be_chosen(cls, augment: tuple[DegradationConfig, ...]) -> tuple[DegradationConfig, ...]:
        for number, one in enumerate(augment):
            if one.without:
                raise ValueError(f"{number}: without: modalities are hidden by modality_dropout; name noise or blur here")
            if one in augment[:number]:
                raise ValueError(f"{number}: {one.describe()} is named twice")
        return augment

    @model_validator(mode="after")
    def _check_kind(self) -> "StreamConfig":
        if self.frames == bool(self.statistics):
            raise ValueError("statistics: " + ("frames have none; leave them out" if self.frames else "name mean, std or both"))
        if self.max_frames is not None and not self.frames:
            raise ValueError("max_frames: for streams of frames only; set frames: true, or leave it out")
        return self

    def build(self, features: EncoderFeatures, in_place: bool = False) -> "list[Stream]":
        """Make the streams of an encoder's features, which hold the layers of `pick_layers`; `in_place` copies as little as it can.

        Raises:
            ConfigError: `sum` or `mean` over layers of different size, or frames of layers that are not equally many.

        """
        name = self.stream or features.name
        if self.frames:
            return self._frame_streams(features, name)
        if in_place and self.combine == "separate":
            return [self._in_place(features, f"{name}/{layer}", (layer,)) for layer in features.layers]
        if in_place and (self.combine == "concat" or len(features.layers) == 1):
            return [self._in_place(features, name, features.layers)]
        parts = [self._statistics_of(features, layer) for layer in features.layers]
        if self.combine == "separate":
            return [self._pooled(features, f"{name}/{layer}", (layer,), x_ND) for layer, x_ND in zip(features.layers, parts, strict=True)]
        return [self._pooled(features, name, features.layers, self._combine(features.layers, parts))]

    def _frame_streams(self, features: EncoderFeatures, name: str) -> "list[Stream]":
        parts = [self._cut(features.frames[layer]) for layer in features.layers]
        if self.combine == "separate":
            return [self._frames(features, f"{name}/{layer}", (layer,), one) for layer, one in zip(features.layers, parts, strict=True)]
        if any(not np.array_equal(one.offsets_N1, parts[0].offsets_N1) for one in parts):
            raise ConfigError(
                f"inputs, {self.encoder}: layers {', '.join(features.layers)} have other numbers of frames; use combine: separate"
            )
        joined = self._combine(features.layers, [one.values_TD for one in parts])
        return [self._frames(features, name, features.layers, Frames(joined, parts[0].offsets_N1))]

    def _cut(self, frames: Frames) -> Frames:
        """At most `max_frames` of each clip."""
        if self.max_frames is None:
            return frames
        lengths_N = np.diff(frames.offsets_N1)
        within_T = np.arange(len(frames.values_TD)) - np.repeat(frames.offsets_N1[:-1], lengths_N)
        offsets_N1 = np.append(0, np.cumsum(np.minimum(lengths_N, self.max_frames)))
        return Frames(frames.values_TD[within_T < self.max_frames], offsets_N1)

    def _combine(self, layers: Sequence[str], parts: Sequence[StoredArray]) -> StoredArray:
        if len(parts) == 1:
            return parts[0]
        if self.combine == "concat":
            return cast(StoredArray, np.concatenate(parts, axis=1))
        if len({x_RD.shape[1] for x_RD in parts}) > 1:
            shown = ", ".join(f"{layer} {x_RD.shape[1]}" for layer, x_RD in zip(layers, parts, strict=True))
            raise ConfigError(
                f"inputs, {self.encoder}: combine: {self.combine} needs layers of one size, these have {shown}; use concat or separate"
            )
        x_RD: npt.NDArray[np.float32] = np.sum(parts, axis=0, dtype=np.float32)
        if self.combine == "mean":
            x_RD /= np.float32(len(parts))
        return x_RD

    def _statistics_of(self, features: EncoderFeatures, layer: str) -> StoredArray:
        parts = [features.columns[f"{statistic}_{layer}"] for statistic in self.statistics]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _in_place(self, features: EncoderFeatures, name: str, layers: tuple[str, ...]) -> "Stream":
        columns = tuple(features.columns[f"{statistic}_{layer}"] for layer in layers for statistic in self.statistics)
        dim = sum(int(column_ND.shape[1]) for column_ND in columns)
        nothing = np.zeros((0, dim), np.float32)
        spec = StreamSpec(name, features.modality, dim)
        return Stream(spec, features.encoder, layers, tuple(self.statistics), nothing, features.present_N, columns=columns)

    def _pooled(self, features: EncoderFeatures, name: str, layers: tuple[str, ...], x_ND: StoredArray) -> "Stream":
        spec = StreamSpec(name, features.modality, int(x_ND.shape[1]))
        x_ND = np.where(features.present_N[:, None], x_ND, np.float32(0))
        return Stream(spec, features.encoder, layers, tuple(self.statistics), x_ND, features.present_N)

    def _frames(self, features: EncoderFeatures, name: str, layers: tuple[str, ...], frames: Frames) -> "Stream":
        spec = StreamSpec(name, features.modality, int(frames.values_TD.shape[1]), is_sequence=True)
        # A clip that failed may have frames of older media in the store.
        present_N = features.present_N & (np.diff(frames.offsets_N1) > 0)
        return Stream(spec, features.encoder, layers, (), frames.values_TD, present_N, frames.offsets_N1)


@dataclass(frozen=True)
class Stream:
    """One input of a model over all clips, and where it comes from.

    `x_RD`: a pooled stream has a row per clip, float32, zero where `present_N` is False; a stream of frames all frames end to end, in
    the stored type, those of clip i from `offsets_N1[i]` to `offsets_N1[i + 1]`. `copies` are the same of degraded media, for training.
    With `columns`, each (N, D of its own) as stored, a pooled stream is these side by side and `x_RD` has no row.
    """

    spec: StreamSpec
    encoder: str
    layers: tuple[str, ...]
    statistics: tuple[str, ...]
    x_RD: StoredArray
    present_N: BoolArray
    offsets_N1: npt.NDArray[np.int64] | None = None
    copies: tuple["Stream", ...] = ()
    columns: tuple[StoredArray, ...] = ()


def pick_layers(config: StreamConfig, encoder: str, available: Sequence[str], sequences: Sequence[str] | None = None) -> tuple[str, ...]:
    """The names of the layers that a config asks for, in its order; `sequences` are those whose frames were kept, if that matters.

    With frames, `all` means all whose frames were kept.

    Raises:
        ConfigError: no layer of that name or number, one named twice, or frames that were not kept.

    """
    kept = available if sequences is None or not config.frames else [layer for layer in available if layer in sequences]
    picked = list(kept) if config.layers == "all" else [_pick(layer, encoder, available) for layer in config.layers]
    lacking = [layer for layer in picked if layer not in kept]
    if lacking or (config.frames and not picked and config.layers == "all"):
        raise ConfigError(
            f"inputs, {encoder}: frames of {', '.join(lacking) or 'its layers'} were not kept; kept: {', '.join(kept) or 'none'}. "
            f"Extract with sequences: [{', '.join(lacking) or 'LAYER'}] at this encoder, or leave out frames: true"
        )
    if not picked or len(set(picked)) < len(picked):
        raise ConfigError(f"inputs, {encoder}: layers {config.layers} name none, or one twice; name each layer once, or write all")
    return tuple(picked)


def _pick(layer: str | int, encoder: str, available: Sequence[str]) -> str:
    if isinstance(layer, int) and -len(available) <= layer < len(available):
        return available[layer]
    if isinstance(layer, str) and layer in available:
        return layer
    last = len(available) - 1
    raise ConfigError(f"inputs, {encoder}: no layer {layer!r}; allowed: {', '.join(available)}, or numbers {-last - 1} to {last}")


def build_streams(configs: Sequence[StreamConfig], features: Sequence[EncoderFeatures], in_place: bool = False) -> list[Stream]:
    """The streams of all inputs, in order; `features[i]` belongs to `configs[i]`.

    `in_place`: what can stay in the features' own arrays does, and is normalised batch by batch.

    Raises:
        ConfigError: as `StreamConfig.build`, or two streams of one name.

    """
    streams = [stream for config, found in zip(configs, features, strict=True) for stream in config.build(found, in_place)]
    names = [stream.spec.name for stream in streams]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigError(f"inputs: two of them give the stream {double[0]!r}; set `stream: <name>` on one")
    return streams
