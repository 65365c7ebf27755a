"""Shared by the decoder tests."""

from pathlib import Path

import pytest
from media_factory import Decode

from mer_ray.core.media_types import Clip, EncoderInput, InputFormat
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits


@pytest.fixture
def decode() -> Decode:
    """Decode one format of one file: `decode(path, format, start_s=..., limits=...)`."""

    def decode_one(path: Path, wanted: InputFormat, limits: MediaLimits | None = None, **of_clip: object) -> EncoderInput | None:
        return decode_clip(Clip("clip", path=str(path), **of_clip), [wanted], limits or MediaLimits())[wanted]

    return decode_one
