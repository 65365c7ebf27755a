"""What travels between decoders, encoders and the store: clips, decoded arrays, features.

Shapes: T samples or frames, N images, H height, W width, D feature dimension.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from mer_ray.core.faces import FaceSource

if TYPE_CHECKING:
    # It needs `Modality` when it is loaded.
    from mer_ray.core.degradation import DegradationConfig

Modality = Literal["audio", "vision", "text"]
MODALITIES: tuple[Modality, ...] = ("audio", "vision", "text")

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Clip:
    """One manifest row as decoding and encoding see it: paths are absolute or `s3://` URLs.

    `path` may hold sound, pictures or both; `audio_path` and `video_path` are set where a corpus keeps
    them apart and then must hold that stream. `start_s`/`end_s` bound a segment of the file in seconds.
    """

    clip_id: str
    path: str | None = None
    audio_path: str | None = None
    video_path: str | None = None
    faces_path: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None
    num_bytes: int | None = None
    text: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono float32 sound at `sample_rate_hz`, with noise where `degrade` says so."""

    sample_rate_hz: int
    degrade: "DegradationConfig | None" = None

    @property
    def modality(self) -> Modality:
        """`audio`."""
        return "audio"


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """RGB frames of `size` x `size` pixels: `num_frames` evenly spaced ones, or `rate_hz` frames a second.

    `crop`: `centre` scales the largest centred square, `whole` letterboxes the whole frame. `faces` gives the face of each frame
    in its place; a frame without a face is left out. `degrade` blurs what was cut out; faces are found in the clear pictures.
    """

    size: int
    num_frames: int | None = None
    rate_hz: float | None = None
    crop: Literal["centre", "whole"] = "centre"
    faces: FaceSource | None = None
    degrade: "DegradationConfig | None" = None

    def __post_init__(self) -> None:
        if (self.num_frames is None) == (self.rate_hz is None):
            raise ValueError("a FrameFormat has either num_frames or rate_hz")

    @property
    def modality(self) -> Modality:
        """`vision`."""
        return "vision"


@dataclass(frozen=True, slots=True)
class TextFormat:
    """The clip's sentence as it stands in the manifest; `degrade` can only take it away."""

    degrade: "DegradationConfig | None" = None

    @property
    def modality(self) -> Modality:
        """`text`."""
        return "text"


InputFormat = AudioFormat | FrameFormat | TextFormat


@dataclass(frozen=True, slots=True)
class Audio:
    """Mono sound: `samples` float32 (T,) in [-1, 1]; beyond, where noise was added.

    `snr_db` is the ratio at which it was; None where none was, also because the sound is silent.
    """

    samples: FloatArray
    sample_rate_hz: int
    snr_db: float | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """RGB pictures: `images` uint8 (N, H, W, 3) and their `times_s` (N,) from the segment's start.

    `no_face_share` is the share of the wanted frames in which no face was found; None where faces were not asked for.
    """

    images: ByteArray
    times_s: npt.NDArray[np.float64]
    no_face_share: float | None = None


EncoderInput = Audio | Frames | str


@dataclass(frozen=True, slots=True)
class Features:
    """One encoder's output for one clip: per layer the mean and deviation over real frames, each float32 (D,).

    `sequences` holds (T, D) only for layers that the config keeps. `num_frames` 0 and empty dicts: the clip
    lacks this modality. `no_face_share` as in `Frames`, `snr_db` as in `Audio`.
    """

    num_frames: int
    frame_s: float
    mean: dict[str, FloatArray] = field(default_factory=dict)
    std: dict[str, FloatArray] = field(default_factory=dict)
    sequences: dict[str, FloatArray] = field(default_factory=dict)
    no_face_share: float | None = None
    snr_db: float | None = None
