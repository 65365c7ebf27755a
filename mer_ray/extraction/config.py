"""The config of `mer-ray extract`."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mer_ray.core.config import Config, Place, where_or_how_fast
from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.plugins import PluginHost, shown_name
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import AnyEncoder, EncoderConfig


class Part(Config):
    """Part `index` of `count`, written `2/5`: the tasks of a job array take one each."""

    index: int = Field(ge=1)
    count: int = Field(ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        index, slash, count = data.partition("/")
        if not (slash and index.strip().isdigit() and count.strip().isdigit()):
            raise ValueError(f"write part i/n, e.g. 2/5, not {data!r}")
        return {"index": int(index), "count": int(count)}

    @model_validator(mode="after")
    def _is_one_of(self) -> Self:
        if self.index > self.count:
            raise ValueError(f"part {self.index}/{self.count}: the parts of {self.count} are 1/{self.count} to {self.count}/{self.count}")
        return self

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Budget(Config):
    """When a run ends, resumable, with the shards that are being processed: after `hours`, or when the GPUs have cost `usd`."""

    hours: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)
    usd: float | None = where_or_how_fast(None, gt=0, allow_inf_nan=False)


class ExtractConfig(PluginHost):
    """Which clips go through which encoders into which store.

    `decode`: `in_actor` decodes in the process that encodes (best on CPUs), `ahead` in a stage of its own before GPU actors;
    `auto` takes `ahead` where actors have a GPU. `num_actors` None: one per GPU, or one per CPU core. `device` auto: `cuda` where
    actors have a GPU. `actor_memory_gb` is what encoders may take in one actor (None: the GPU's memory, or the actor's share of
    the node's). `media_cache_mb` bounds the copies of remote media that lie on the machines at once. `part` i/n takes the
    clips whose hashed id falls to it. `degrade` encodes noisy sound, blurred frames or nothing instead, as encoders of their own
    beside those of the clear media; an encoder that it does not concern stays as it is.
    """

    manifest: Path = where_or_how_fast()
    store: Place = where_or_how_fast()
    encoders: tuple[AnyEncoder, ...] = Field(min_length=1)
    degrade: DegradationConfig | None = None
    max_failure_rate: float = where_or_how_fast(0.05, ge=0.0, le=1.0)
    retry_failed: bool = where_or_how_fast(False)
    part: Part | None = where_or_how_fast(None)
    limits: MediaLimits = where_or_how_fast(MediaLimits())
    decode: Literal["auto", "in_actor", "ahead"] = where_or_how_fast("auto")
    device: Literal["auto", "cpu", "cuda"] = where_or_how_fast("auto")
    num_actors: int | None = where_or_how_fast(None, ge=1)
    gpus_per_actor: float | None = where_or_how_fast(None, ge=0.0)
    actor_memory_gb: float | None = where_or_how_fast(None, gt=0.0, allow_inf_nan=False)
    shard_mb: float = where_or_how_fast(64.0, gt=0.0)
    shard_media_s: float = where_or_how_fast(600.0, gt=0.0)
    media_cache_mb: float = where_or_how_fast(8192.0, gt=0.0)
    no_progress_timeout_s: int | None = where_or_how_fast(None, ge=1)
    price_per_gpu_hour: float | None = where_or_how_fast(None, ge=0.0, allow_inf_nan=False)
    budget: Budget = where_or_how_fast(Budget())
    summary: Path | None = where_or_how_fast(None)

    @field_validator("encoders")
    @classmethod
    def _encoders_differ(cls, encoders: tuple[AnyEncoder, ...]) -> tuple[AnyEncoder, ...]:
        for index, encoder in enumerate(encoders):
            if encoder in encoders[:index]:
                raise ValueError(f"encoder {shown_name(encoder)} is listed twice with the same config; remove one")
        return encoders

    @model_validator(mode="after")
    def _degrade_once(self) -> Self:
        if self.degrade is None:
            return self
        for number, encoder in enumerate(self.encoders):
            if encoder.degrade is not None:
                raise ValueError(f"degrade: is set for all encoders, and once more as encoders.{number}.degrade; leave one of them out")
        if all(self.degrade.of(encoder.modality) is None for encoder in self.encoders):
            read = ", ".join(dict.fromkeys(encoder.modality for encoder in self.encoders))
            raise ValueError(f"degrade: {self.degrade.describe()} concerns none of the encoders, which read {read}")
        return self

    @property
    def wanted_encoders(self) -> tuple[EncoderConfig, ...]:
        """The encoders with what of `degrade` concerns each."""
        if self.degrade is None:
            return self.encoders
        return tuple(encoder.degraded(self.degrade.of(encoder.modality)) for encoder in self.encoders)

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> Self:
        if self.budget.usd is not None and not self.price_per_gpu_hour:
            raise ValueError("budget.usd: needs price_per_gpu_hour, the price of one GPU for an hour in USD")
        return self
