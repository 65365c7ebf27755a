"""What all networks for pictures share: where faces come from, frames of many clips in one batch, features of each clip.

Shapes: N frames of a clip, B frames of a batch, H height, W width, C colour channels, D feature dimension over all layers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Discriminator, Tag
from torch import Tensor

from mer_ray.core.config import digest_of, where_or_how_fast
from mer_ray.core.errors import EncoderError
from mer_ray.core.faces import DetectedFaces, StoredFaces
from mer_ray.core.media_types import ByteArray, EncoderInput, Features, FloatArray, FrameFormat, Frames
from mer_ray.encoders._base import Encoder
from mer_ray.encoders._budget import BatchBudget
from mer_ray.encoders._frame_choice import FrameEncoderConfig, spacing_s
from mer_ray.encoders._pooling import pool_features
from mer_ray.encoders._pretrained import COMPUTE_DTYPES, Compute, exact_float32

# Frames in one forward pass: large enough to fill the device, small enough for its memory.
CPU_BATCH_FRAMES, CUDA_BATCH_FRAMES = 16, 256
WHOLE_FRAME = "whole_frame"
FACE_CHOICES = (
    "write {name: yunet, weights: face_detection_yunet_2023mar.onnx} to find faces, {name: crops} for faces that the corpus ships, "
    "or whole_frame where the pictures are faces already"
)


def _face_choice(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else getattr(value, "name", value)


Faces = Annotated[
    Annotated[DetectedFaces, Tag("yunet")] | Annotated[StoredFaces, Tag("crops")] | Annotated[Literal["whole_frame"], Tag(WHOLE_FRAME)],
    Discriminator(_face_choice, custom_error_type="face_choice", custom_error_message=FACE_CHOICES),
]


class VisionEncoderConfig(FrameEncoderConfig):
    """Frames or faces for a network; `max_batch_frames` bounds one pass (None: 16 on a CPU, 256 on a GPU)."""

    faces: Faces = "whole_frame"
    compute: Compute = "float32"
    max_batch_frames: int | None = where_or_how_fast(None, ge=1)

    @property
    @abstractmethod
    def decoded_size(self) -> int:
        """Height and width in pixels at which frames are decoded."""

    @property
    def input_format(self) -> FrameFormat:
        """Frames, or the face of each."""
        faces = None if isinstance(self.faces, str) else self.faces
        return FrameFormat(self.decoded_size, self.num_frames, self.frame_rate_hz, self.crop, faces)

    @property
    def frames_are_independent(self) -> bool:
        """The networks see one frame at a time."""
        return True

    @abstractmethod
    def network_digest(self) -> str:
        """The sha256 of the network's files."""

    def weights_digest(self) -> str:
        """The sha256 over the network's files and the face detector's.

        Raises:
            EncoderError: one of them is missing.

        """
        network = self.network_digest()
        if not isinstance(self.faces, DetectedFaces):
            return network
        if not self.faces.weights.is_file():
            raise EncoderError(f"faces.weights {self.faces.weights}: no such file; download YuNet's ONNX file from OpenCV's model zoo")
        return digest_of([network, self.faces.digest()])


class VisionEncoder(Encoder):
    """A frozen network that sees one frame at a time: frames of several clips share batches, and one clip may take several."""

    def __init__(self, config: VisionEncoderConfig, device: str, means: Sequence[float], deviations: Sequence[float]) -> None:
        super().__init__(config)
        self.device = torch.device(device)
        self.compute_dtype = COMPUTE_DTYPES[config.compute]
        self.mean_C11, self.deviation_C11 = (torch.tensor(values, device=self.device)[:, None, None] for values in (means, deviations))
        self.budget = BatchBudget(config.max_batch_frames or (CUDA_BATCH_FRAMES if self.device.type == "cuda" else CPU_BATCH_FRAMES))

    def padding(self) -> tuple[int, int]:
        """Frames that went through the network; none are padding."""
        return self.budget.real_units, self.budget.padded_units

    @abstractmethod
    def _forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Each layer's (B, D of the layer) of normalised frames, in the order of `layers`."""

    def _encode(self, inputs: Sequence[EncoderInput]) -> list[Features]:
        clips = [clip_input for clip_input in inputs if isinstance(clip_input, Frames)]
        images = [image_HWC for frames in clips for image_HWC in frames.images]
        rows = self.budget.run([1] * len(images), lambda batch: self._encode_batch([images[number] for number in batch]))
        ends = np.cumsum([len(frames.images) for frames in clips])
        return [self._pool(frames, rows[end - len(frames.images) : end]) for frames, end in zip(clips, ends, strict=True)]

    @torch.inference_mode()
    def _encode_batch(self, images: Sequence[ByteArray]) -> list[FloatArray]:
        """Each frame's (D,): its layers one after the other."""
        on_gpu = self.device.type == "cuda"
        # As bytes, from memory that the GPU reads by itself: a quarter of the traffic of normalised floats.
        images_BHWC = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=on_gpu)
        np.stack(images, out=images_BHWC.numpy())
        with exact_float32():
            layers = self._forward(self._normalise(images_BHWC.to(self.device, non_blocking=on_gpu)))
        features_BD: FloatArray = torch.cat([layer_BD.float() for layer_BD in layers], dim=1).cpu().numpy()
        return list(features_BD)

    def _normalise(self, images_BHWC: Tensor) -> Tensor:
        """What the network takes, (B, C, H, W)."""
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float()
        return ((images_BCHW - self.mean_C11) / self.deviation_C11).to(self.compute_dtype)

    def _pool(self, frames: Frames, rows: Sequence[FloatArray]) -> Features:
        columns = np.cumsum(list(self.layers.values()))[:-1]
        layers = dict(zip(self.layers, np.split(np.stack(rows), columns, axis=1), strict=True))
        frame_s = self.frame_s if self.frame_s is not None else spacing_s(frames)
        features = pool_features(layers, len(rows), frame_s, self.sequences, self.rate_hz)
        return replace(features, no_face_share=frames.no_face_share)
