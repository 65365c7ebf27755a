"""MA-Net without its classifiers, with the names of the published weights.

Zhao, Liu & Wang, "Learning Deep Global Multi-Scale and Local Attention Features for Facial Expression Recognition in the Wild", IEEE
Transactions on Image Processing 30, 2021.
A ResNet-18 that divides after its second stage: one branch looks at four quarters of the picture apart, with attention over channels
and places (CBAM); the other sees the whole picture at four scales.

Shapes: B frames, C channels, H height, W width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_SCALES = 4
REDUCTION = 16
BLOCKS_PER_STAGE = 2


class MaNet(nn.Module):
    """(B, 3, H, W) in, 224 x 224 when published; (B, 1024) out: 512 of the local, 512 of the global branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _make_stage(BasicBlock, 64, 64, 1)
        self.layer2 = _make_stage(BasicBlock, 64, 128, 2)
        for quarter in range(1, 5):
            self.add_module(f"layer3_1_p{quarter}", _make_stage(AttentionBlock, 128, 256, 2))
            self.add_module(f"layer4_1_p{quarter}", _make_stage(AttentionBlock, 256, 512, 1))
        self.layer3_2 = _make_stage(MultiScaleBlock, 128, 256, 2)
        self.layer4_2 = _make_stage(MultiScaleBlock, 256, 512, 2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The features of both branches one after the other."""
        x_BCHW = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x_BCHW))), 3, 2, padding=1)
        x_BCHW = self.layer2(self.layer1(x_BCHW))
        quarters = [part_BCHW for half_BCHW in x_BCHW.chunk(2, dim=2) for part_BCHW in half_BCHW.chunk(2, dim=3)]
        local_maps = [
            self.get_submodule(f"layer4_1_p{number}")(self.get_submodule(f"layer3_1_p{number}")(part_BCHW))
            for number, part_BCHW in enumerate(quarters, start=1)
        ]
        global_BCHW = self.layer4_2(self.layer3_2(x_BCHW))
        # Quarters of equal size: the mean of their means is the mean of the picture that they make up.
        local_BC = torch.stack([map_BCHW.mean(dim=(2, 3)) for map_BCHW in local_maps]).mean(dim=0)
        return torch.cat([local_BC, global_BCHW.mean(dim=(2, 3))], dim=1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes."""

    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(num_inputs, num_outputs, 3, stride), nn.BatchNorm2d(num_outputs)
        self.conv2, self.bn2 = _convolution(num_outputs, num_outputs, 3, 1), nn.BatchNorm2d(num_outputs)
        self.downsample = _make_shortcut(num_inputs, num_outputs, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) in and out, at the block's stride."""
        inner_BCHW = functional.relu(self.bn1(self.conv1(x_BCHW)))
        around_BCHW: Tensor = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return functional.relu(self.attend(self.bn2(self.conv2(inner_BCHW))) + around_BCHW)

    def attend(self, x_BCHW: Tensor) -> Tensor:
        """What comes between the convolutions and the sum: nothing here."""
        return x_BCHW


class AttentionBlock(BasicBlock):
    """A basic block whose output is weighted by channel, then by place (CBAM)."""

    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__(num_inputs, num_outputs, stride)
        self.cbam = nn.ModuleDict({"ChannelGate": ChannelGate(num_outputs), "SpatialGate": SpatialGate()})

    def attend(self, x_BCHW: Tensor) -> Tensor:
        """The map, weighted."""
        for gate in self.cbam.values():
            x_BCHW = gate(x_BCHW)
        return x_BCHW


class ChannelGate(nn.Module):
    """Weights each channel by its mean and its maximum over the map, both through one small network."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        num_hidden = num_channels // REDUCTION
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(num_channels, num_hidden), nn.ReLU(), nn.Linear(num_hidden, num_channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The map with weighted channels."""
        score_BC = self.mlp(x_BCHW.mean(dim=(2, 3))) + self.mlp(x_BCHW.amax(dim=(2, 3)))
        return x_BCHW * torch.sigmoid(score_BC)[:, :, None, None]


class SpatialGate(nn.Module):
    """Weights each place by a 7x7 convolution over the maximum and the mean of its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.ModuleDict({"conv": _convolution(2, 1, 7, 1), "bn": nn.BatchNorm2d(1)})

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The map with weighted places."""
        pooled_B2HW = torch.stack([x_BCHW.amax(dim=1), x_BCHW.mean(dim=1)], dim=1)
        return x_BCHW * torch.sigmoid(self.spatial["bn"](self.spatial["conv"](pooled_B2HW)))


class MultiScaleBlock(nn.Module):
    """A 3x3 convolution, then two chains over its four groups of channels: each group's convolution sees the one before.

    Both chains run from the first group to the last, as in the code of January 2021 that the weights were trained with and that
    MERTools carries; the authors' later code (April 2023) turns the second chain round.
    """

    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(num_inputs, num_outputs, 3, stride), nn.BatchNorm2d(num_outputs)
        width = num_outputs // NUM_SCALES
        for chain in (1, 2):
            for scale in range(1, NUM_SCALES + 1):
                self.add_module(f"conv{chain}_2_{scale}", _convolution(width, width, 3, 1))
                self.add_module(f"bn{chain}_2_{scale}", nn.BatchNorm2d(width))
        self.downsample = _make_shortcut(num_inputs, num_outputs, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) in and out, at the block's stride."""
        groups = functional.relu(self.bn1(self.conv1(x_BCHW))).chunk(NUM_SCALES, dim=1)
        around_BCHW: Tensor = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        return functional.relu(self._run_chain(1, groups) + self._run_chain(2, groups) + around_BCHW)

    def _run_chain(self, chain: int, groups: tuple[Tensor, ...]) -> Tensor:
        outputs: list[Tensor] = []
        for scale, group_BCHW in enumerate(groups, start=1):
            inner_BCHW = functional.relu(outputs[-1]) + group_BCHW if outputs else group_BCHW
            outputs.append(self.get_submodule(f"bn{chain}_2_{scale}")(self.get_submodule(f"conv{chain}_2_{scale}")(inner_BCHW)))
        return torch.cat(outputs, dim=1)


def _make_stage(make_block: Callable[[int, int, int], nn.Module], num_inputs: int, num_outputs: int, stride: int) -> nn.Sequential:
    first = make_block(num_inputs, num_outputs, stride)
    return nn.Sequential(first, *(make_block(num_outputs, num_outputs, 1) for _ in range(1, BLOCKS_PER_STAGE)))


def _make_shortcut(num_inputs: int, num_outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and num_inputs == num_outputs:
        return None
    return nn.Sequential(_convolution(num_inputs, num_outputs, 1, stride), nn.BatchNorm2d(num_outputs))


def _convolution(num_inputs: int, num_outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(num_inputs, num_outputs, kernel, stride, padding=kernel // 2, bias=False)
