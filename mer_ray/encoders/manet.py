"""The `manet` encoder: MA-Net, trained on faces in the wild, as MERTools takes it (1024 numbers per face).

Shapes: B frames, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._face_network import FaceNetworkConfig, load_network
from mer_ray.encoders._manet_network import MaNet
from mer_ray.encoders._vision import VisionEncoder

NUM_FEATURES = 1024
# Pictures from 0 to 1 are all the preparation that there is.
MEAN, DEVIATION = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
UNUSED_TENSORS = ("fc_1.", "fc_2.")


class ManetConfig(FaceNetworkConfig):
    """MA-Net on faces of 224 x 224; `weights` is a published checkpoint (`.pth` with optimiser and scores), or its conversion."""

    checkpoints: ClassVar[tuple[Checkpoint, ...]] = (
        Checkpoint(
            weights="[02-08]-[21-19]-model_best-acc88.33.pth",
            num_parameters=50_547_214,
            dim=NUM_FEATURES,
            num_layers=1,
            licence="MIT for the code, none stated for the weights; trained on RAF-DB, which is for non-commercial research",
            source="https://github.com/zengqunzhao/MA-Net",
        ),
    )

    name: Literal["manet"] = "manet"
    # So that the map which is cut into quarters has even sides.
    size: int = Field(224, ge=32, le=1024, multiple_of=16)

    @property
    def licence(self) -> str:
        """Of the published weights."""
        return self.checkpoints[0].licence

    def layers(self) -> dict[str, int]:
        """`features`: 512 of the local branch, then 512 of the global branch, one vector as in MERTools."""
        return {"features": NUM_FEATURES}

    def build(self, device: str) -> ManetEncoder:
        """The encoder with its weights on `device`."""
        return ManetEncoder(self, device)


class ManetEncoder(VisionEncoder):
    """A frozen MA-Net."""

    def __init__(self, config: ManetConfig, device: str) -> None:
        super().__init__(config, device, MEAN, DEVIATION)
        self.network = load_network(config, MaNet, UNUSED_TENSORS, self.device, self.compute_dtype)

    def _forward(self, images_BCHW: Tensor) -> list[Tensor]:
        return [self.network(images_BCHW)]
