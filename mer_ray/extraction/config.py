"""The config of `mer-ray extract`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders import AnyEncoder


class ExtractConfig(Config):
    """Which clips go through which encoders into which store.

    `decode`: `in_actor` decodes in the process that encodes (best on CPUs), `ahead` in a stage of its own before
    GPU actors; `auto` takes `ahead` where actors have a GPU. `num_actors` None: one per GPU, or one per CPU core.
    """

    manifest: Path = where_or_how_fast()
    store: str = where_or_how_fast()
    encoders: tuple[AnyEncoder, ...] = Field(min_length=1)
    max_failure_rate: float = where_or_how_fast(0.05, ge=0.0, le=1.0)
    retry_failed: bool = where_or_how_fast(False)
    limits: MediaLimits = where_or_how_fast(MediaLimits())
    decode: Literal["auto", "in_actor", "ahead"] = where_or_how_fast("auto")
    num_actors: int | None = where_or_how_fast(None, ge=1)
    gpus_per_actor: float | None = where_or_how_fast(None, ge=0.0)
    shard_mb: float = where_or_how_fast(64.0, gt=0.0)
    shard_media_s: float = where_or_how_fast(600.0, gt=0.0)
    no_progress_timeout_s: int = where_or_how_fast(1800, ge=1)
    summary: Path | None = where_or_how_fast(None)

    @field_validator("encoders")
    @classmethod
    def _encoders_differ(cls, encoders: tuple[AnyEncoder, ...]) -> tuple[AnyEncoder, ...]:
        for index, encoder in enumerate(encoders):
            if encoder in encoders[:index]:
                raise ValueError(f"encoder {encoder.name} is listed twice with the same config; remove one")
        return encoders
