"""Random weights under the names and shapes of published checkpoints, so that the real loading code reads them."""

import math
from pathlib import Path

import torch
from torch import Tensor

# The size of the norms at which what passes through random weights neither grows nor vanishes.
NORM_SCALES = {"efficientnet_b2": 0.95, "resnet50_ferplus_dag": 0.6, "manet": 0.8}
LISTINGS = Path(__file__).parent / "unit" / "encoders"


def read_listing(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor name, from `published_<name>.txt`; its first lines say where they come from."""
    lines = (LISTINGS / f"published_{name}.txt").read_text().splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#")]
    return {tensor: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for tensor, shape in pairs}


def random_tensors(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Normal weights under the names and shapes of the listing."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for tensor, shape in read_listing(name).items():
        if tensor.endswith("num_batches_tracked"):
            tensors[tensor] = torch.tensor(100)
        elif tensor.endswith("running_var"):
            tensors[tensor] = 0.5 + torch.rand(shape, generator=generator)
        elif tensor.endswith(("running_mean", "bias")):
            tensors[tensor] = 0.1 * torch.randn(shape, generator=generator)
        elif len(shape) == 1:
            tensors[tensor] = NORM_SCALES[name] * (0.5 + torch.rand(shape, generator=generator))
        else:
            tensors[tensor] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
    return tensors
