"""The `efficientnet_b2` encoder: EfficientNet-B2 trained on AffectNet (HSEmotion), one vector per face.

Shapes: B frames, C colour channels, H height, W width, D feature dimension.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from mer_ray.encoders._base import Checkpoint
from mer_ray.encoders._face_network import FaceNetworkConfig, load_network
from mer_ray.encoders._vision import VisionEncoder

# The variant whose convolutions pad as TensorFlow does: HSEmotion started from its noisy-student weights.
ARCHITECTURE = "tf_efficientnet_b2"
NUM_FEATURES = 1408
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNUSED_TENSORS = ("classifier.",)


class EfficientNetConfig(FaceNetworkConfig):
    """EfficientNet-B2 on faces of 224 x 224 as in VAVL's code; HSEmotion's own code scales them to 260 (`size: 260`).

    `weights` is the published file, a whole pickled timm model whose code is never run, or its conversion to safetensors.
    """

    checkpoints: ClassVar[tuple[Checkpoint, ...]] = (
        Checkpoint(
            weights="enet_b2_8_best.pt",
            num_parameters=7_712_266,
            dim=NUM_FEATURES,
            num_layers=1,
            licence="Apache-2.0; trained on AffectNet, which is for non-commercial research",
            source="https://github.com/sb-ai-lab/EmotiEffLib",
        ),
    )

    name: Literal["efficientnet_b2"] = "efficientnet_b2"

    @property
    def licence(self) -> str:
        """Of the published weights."""
        return self.checkpoints[0].licence

    def layers(self) -> dict[str, int]:
        """`features`: the last convolution's output, averaged over the picture; the classifier is left out."""
        return {"features": NUM_FEATURES}

    def build(self, device: str) -> EfficientNetEncoder:
        """The encoder with its weights on `device`."""
        return EfficientNetEncoder(self, device)


class EfficientNetEncoder(VisionEncoder):
    """A frozen EfficientNet-B2 of timm."""

    def __init__(self, config: EfficientNetConfig, device: str) -> None:
        means, deviations = ([255 * value for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))
        super().__init__(config, device, means, deviations)
        self.network = load_network(config, _make_network, UNUSED_TENSORS, self.device, self.compute_dtype)

    def _forward(self, images_BCHW: Tensor) -> list[Tensor]:
        return [self.network(images_BCHW)]


def _make_network() -> nn.Module:
    # timm takes a second to import, and this encoder alone needs it.
    import timm

    network: nn.Module = timm.create_model(ARCHITECTURE, num_classes=0)
    return network
