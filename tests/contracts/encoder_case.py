"""What the contract test asks of one encoder, apart so that each family keeps its cases in a file of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mer_ray.core.media_types import EncoderInput
from mer_ray.encoders import EncoderConfig


@dataclass(frozen=True)
class EncoderCase:
    """`make_config` takes a folder that holds small weights where the encoder needs some."""

    label: str
    make_config: Callable[[Path], EncoderConfig]
    inputs: tuple[EncoderInput, ...]
    # Inputs at the edge of what is legal: they too give finite features.
    hostile_inputs: tuple[EncoderInput, ...]
    # Fields that change the identity, and fields that do not.
    identity_changes: tuple[dict[str, object], ...]
    other_changes: tuple[dict[str, object], ...] = ()
    has_weights: bool = False
    # It says how a clip was recorded: no layers to search for emotion.
    measures_recording: bool = False
    # Networks of published width take seconds.
    is_slow: bool = False
