"""What a clip can have."""

from typing import Literal

Modality = Literal["audio", "vision", "text"]
MODALITIES: tuple[Modality, ...] = ("audio", "vision", "text")
