"""Which frames of a clip an encoder of pictures sees: so many, or so many a second; and how far apart they lie."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mer_ray.core.media_types import Frames
from mer_ray.encoders._base import EncoderConfig


class FrameEncoderConfig(EncoderConfig):
    """Frames, `num_frames` evenly spaced or `frame_rate_hz` a second; `crop` cuts the centred square or keeps the whole frame."""

    num_frames: int | None = Field(default=16, ge=1)
    frame_rate_hz: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    crop: Literal["centre", "whole"] = "centre"

    @model_validator(mode="before")
    @classmethod
    def _rate_replaces_number(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("frame_rate_hz") is not None and "num_frames" not in data:
            return {**data, "num_frames": None}
        return data

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.num_frames is None) == (self.frame_rate_hz is None):
            raise ValueError("set num_frames (evenly spaced) or frame_rate_hz, the other null")
        return self

    @property
    def frame_s(self) -> float | None:
        """Known where frames come at a rate."""
        return None if self.frame_rate_hz is None else 1 / self.frame_rate_hz


def spacing_s(frames: Frames) -> float:
    """Seconds between evenly spaced frames; 0 for a single one."""
    return float(np.ptp(frames.times_s)) / (len(frames.times_s) - 1) if len(frames.times_s) > 1 else 0.0
