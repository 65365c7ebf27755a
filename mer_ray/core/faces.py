"""Where a vision encoder's faces come from; part of the encoder's config and of its input format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.core.errors import ConfigError


@dataclass(frozen=True)
class DetectorFile:
    """A published face detector, which this project does not ship."""

    source: str
    licence: str


_LIBFACEDETECTION = "https://github.com/ShiqiYu/libfacedetection.train/raw/0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx"
_OPENCV_ZOO = "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98/models"
# By the sha256 of the file. Other files are allowed: whoever brings one knows its licence.
KNOWN_DETECTORS = {
    "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12": DetectorFile(
        f"{_LIBFACEDETECTION}/yunet_n_dynamic.onnx", "Apache-2.0"
    ),
    "81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2": DetectorFile(
        f"{_LIBFACEDETECTION}/yunet_n_320_320.onnx", "Apache-2.0"
    ),
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": DetectorFile(
        f"{_OPENCV_ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx", "MIT"
    ),
}


class DetectedFaces(Config):
    """Faces found by YuNet (`cv2.FaceDetectorYN`) from the ONNX file `weights`, one per frame.

    `choice`: the largest face of each frame, or of its faces the one that is seen longest in the clip (`continuous`). The crop is a
    square of (1 + `margin`) times the box's longer side; `align` turns it so that the eyes are level. The detector runs on every
    `detect_every`-th wanted frame; boxes between are interpolated.
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
        """The sha256 of the detector's file.

        Raises:
            ConfigError: no such file.

        """
        if not self.weights.is_file():
            files = "; ".join(f"{known.source} ({known.licence})" for known in KNOWN_DETECTORS.values())
            raise ConfigError(f"faces.weights: no file {self.weights}; download a YuNet detector, one of: {files}")
        return digest_file(self.weights)

    @property
    def licence(self) -> str:
        """The licence of the detector's file; `unknown` for a file that is none of `KNOWN_DETECTORS`."""
        known = KNOWN_DETECTORS.get(self.digest())
        return known.licence if known is not None else "unknown"


class StoredFaces(Config):
    """Faces that a corpus ships: `faces_path` of the manifest, one `.npy` of (N, H, W, 3) uint8 per clip (MERTools writes BGR)."""

    name: Literal["crops"] = "crops"
    channels: Literal["bgr", "rgb"] = "bgr"


FaceSource = Annotated[DetectedFaces | StoredFaces, Field(discriminator="name")]
