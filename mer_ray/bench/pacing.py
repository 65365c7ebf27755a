"""An encoder for figures, read as a plug-in: it sleeps as long as the clip's sentence says, and computes nothing.

Sleeping takes no core, so that many nodes fit on one machine.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from mer_ray.core.media_types import EncoderInput, Features, TextFormat
from mer_ray.encoders import Encoder, EncoderConfig, pool_features

POLL_INTERVAL_S = 0.02


class PacingConfig(EncoderConfig):
    """Sentences are numbers of seconds. No actor begins before `num_actors` of them have left a file in `meeting`."""

    name: str = "pacing"
    meeting: str
    num_actors: int = Field(ge=1)

    @property
    def input_format(self) -> TextFormat:
        """The sentence of the manifest."""
        return TextFormat()

    @property
    def frame_s(self) -> None:
        """No frames."""
        return

    def layers(self) -> dict[str, int]:
        """One number."""
        return {"seconds": 1}

    def sequence_layers(self) -> tuple[str, ...]:
        """None."""
        return ()

    def build(self, device: str) -> "PacingEncoder":
        """Wait for the other actors, which start one after the other where machines are few."""
        meeting = Path(self.meeting)
        (meeting / str(os.getpid())).touch()
        while len(list(meeting.iterdir())) < self.num_actors:
            time.sleep(POLL_INTERVAL_S)
        return PacingEncoder(self)


class PacingEncoder(Encoder):
    """Sleeps once for all clips of a batch."""

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        seconds = [float(sentence) for sentence in inputs if isinstance(sentence, str)]
        time.sleep(sum(seconds))
        return [pool_features({"seconds": np.full((1, 1), each, np.float32)}, 1, 0.0, (), None) for each in seconds]
