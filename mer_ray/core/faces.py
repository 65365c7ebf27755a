"""Where a vision encoder's faces come from; part of the encoder's config and of its input format."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import Config, where_or_how_fast


class DetectedFaces(Config):
    """Faces found by YuNet (`cv2.FaceDetectorYN`) from the ONNX file `weights`, one per frame.

    `choice`: the largest face of each frame, or the one that stays where it was (`continuous`). `margin` widens the box by this
    share of its longer side, `align` turns it so that the eyes are level. The detector runs on every `detect_every`-th wanted
    frame; boxes between are interpolated.
    """

    name: Literal["yunet"] = "yunet"
    weights: Path = where_or_how_fast()
    choice: Literal["largest", "continuous"] = "continuous"
    min_score: float = Field(0.6, gt=0, lt=1)
    margin: float = Field(0.2, ge=0, le=2)
    align: bool = True
    detect_every: int = Field(1, ge=1)

    @field_validator("weights")
    @classmethod
    def _make_absolute(cls, weights: Path) -> Path:
        # Workers run in folders of their own.
        return weights.expanduser().absolute()

    def digest(self) -> str:
        """The sha256 of the detector's file."""
        return digest_file(self.weights)


class StoredFaces(Config):
    """Faces that a corpus ships: `faces_path` of the manifest, one `.npy` of (N, H, W, 3) uint8 per clip (MERTools writes BGR)."""

    name: Literal["crops"] = "crops"
    channels: Literal["bgr", "rgb"] = "bgr"


FaceSource = Annotated[DetectedFaces | StoredFaces, Field(discriminator="name")]
