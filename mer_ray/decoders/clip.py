"""One clip to arrays: sound, frames and text, each file opened and demultiplexed once."""

from collections.abc import Collection

from mer_ray.core.media_types import Clip, EncoderInput, InputFormat
from mer_ray.decoders.limits import MediaLimits


def decode_clip(clip: Clip, formats: Collection[InputFormat], limits: MediaLimits) -> dict[InputFormat, EncoderInput | None]:
    """Decode a clip into every wanted format; None where the clip lacks the modality."""
    raise NotImplementedError
