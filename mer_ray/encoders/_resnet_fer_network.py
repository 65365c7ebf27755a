"""ResNet-50 up to the convolution whose output MERTools takes, with the names of its Caffe ancestor.

Albanie's mcnFER network `resnet50_ferplus_dag`: strides lie in the first 1x1 convolution of a stage, and the first pooling has no
padding but rounds up.

Shapes: B frames, C channels, H height, W width.
"""

from torch import Tensor, nn
from torch.nn import functional

STEM = "conv1_7x7_s2"
# Number of the stage, channels of its 3x3 convolutions, blocks, stride; the last stage ends inside its last block.
STAGES = ((2, 64, 3, 1), (3, 128, 4, 2), (4, 256, 6, 2), (5, 512, 3, 2))
EXPANSION = 4
LAST_BLOCK = "conv5_3"


class ResnetFer(nn.Module):
    """(B, 3, H, W) in; the map (B, 512, H / 32, W / 32) after the ReLU of `conv5_3_3x3` out."""

    def __init__(self) -> None:
        super().__init__()
        self._add_convolution(STEM, 3, 64, 7, 2)
        num_channels = 64
        for stage, width, num_blocks, stride in STAGES:
            for number in range(1, num_blocks + 1):
                block = f"conv{stage}_{number}"
                first_stride = stride if number == 1 else 1
                self._add_convolution(f"{block}_1x1_reduce", num_channels, width, 1, first_stride)
                self._add_convolution(f"{block}_3x3", width, width, 3, 1)
                if block == LAST_BLOCK:
                    break
                self._add_convolution(f"{block}_1x1_increase", width, EXPANSION * width, 1, 1)
                if number == 1:
                    self._add_convolution(f"{block}_1x1_proj", num_channels, EXPANSION * width, 1, first_stride)
                num_channels = EXPANSION * width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The map of the last 3x3 convolution."""
        x_BCHW = functional.relu(self._convolve(STEM, x_BCHW))
        x_BCHW = functional.max_pool2d(x_BCHW, 3, 2, ceil_mode=True)
        for stage, _, num_blocks, _ in STAGES:
            for number in range(1, num_blocks + 1):
                block = f"conv{stage}_{number}"
                inner_BCHW = functional.relu(self._convolve(f"{block}_1x1_reduce", x_BCHW))
                inner_BCHW = functional.relu(self._convolve(f"{block}_3x3", inner_BCHW))
                if block == LAST_BLOCK:
                    return inner_BCHW
                around_BCHW = self._convolve(f"{block}_1x1_proj", x_BCHW) if number == 1 else x_BCHW
                x_BCHW = functional.relu(around_BCHW + self._convolve(f"{block}_1x1_increase", inner_BCHW))
        raise AssertionError("the last block returns")

    def _add_convolution(self, name: str, num_inputs: int, num_outputs: int, kernel: int, stride: int) -> None:
        self.add_module(name, nn.Conv2d(num_inputs, num_outputs, kernel, stride, padding=kernel // 2, bias=False))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(num_outputs))

    def _convolve(self, name: str, x_BCHW: Tensor) -> Tensor:
        normalised_BCHW: Tensor = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x_BCHW))
        return normalised_BCHW
