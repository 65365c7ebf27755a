"""The `resnet_fer` encoder: ResNet-50 trained on FER+, as the MER baselines take it (512 numbers per face).

Shapes: B frames, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._face_network import FaceNetworkConfig, load_network
from mer_ray.encoders._resnet_fer_network import ResnetFer
from mer_ray.encoders._vision import VisionEncoder

NUM_FEATURES = 512
# Of the published model, on pictures from 0 to 255.
MEAN, DEVIATION = (131.0912, 103.8827, 91.4953), (1.0, 1.0, 1.0)
# What lies behind the layer that is taken.
UNUSED_TENSORS = ("conv5_3_1x1_increase", "classifier.")


class ResnetFerConfig(FaceNetworkConfig):
    """ResNet-50 FER+ on the centre (7 / 8 of the side) of each face: MERTools scales faces to 256 and cuts out 224.

    `weights` is the published `resnet50_ferplus_dag.pth`, or its conversion to safetensors.
    """

    checkpoints: ClassVar[tuple[Checkpoint, ...]] = (
        Checkpoint(
            weights="resnet50_ferplus_dag.pth",
            num_parameters=23_524_424,
            dim=NUM_FEATURES,
            num_layers=1,
            licence="none stated for the weights; trained on FER+ (FER2013 pictures)",
            source="https://www.robots.ox.ac.uk/~albanie/mcn-models.html",
        ),
    )

    name: Literal["resnet_fer"] = "resnet_fer"

    @property
    def licence(self) -> str:
        """Of the published weights."""
        return self.checkpoints[0].licence

    @property
    def decoded_size(self) -> int:
        """An eighth more than the network sees, 256 for 224."""
        return self.size * 8 // 7

    def layers(self) -> dict[str, int]:
        """`conv5_3`: the output of `conv5_3_3x3_relu`, averaged over the picture."""
        return {"conv5_3": NUM_FEATURES}

    def build(self, device: str) -> ResnetFerEncoder:
        """The encoder with its weights on `device`."""
        return ResnetFerEncoder(self, device)


class ResnetFerEncoder(VisionEncoder):
    """A frozen ResNet-50 FER+."""

    def __init__(self, config: ResnetFerConfig, device: str) -> None:
        super().__init__(config, device, MEAN, DEVIATION)
        self.first_pixel, self.size = (config.decoded_size - config.size) // 2, config.size
        self.network = load_network(config, ResnetFer, UNUSED_TENSORS, self.device, self.compute_dtype)

    def _forward(self, images_BCHW: Tensor) -> list[Tensor]:
        inside = slice(self.first_pixel, self.first_pixel + self.size)
        return [self.network(images_BCHW[:, :, inside, inside]).mean(dim=(2, 3))]
