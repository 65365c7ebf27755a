"""Networks trained on faces, in the file formats in which they were published."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from mer_ray.core.artefacts import digest_file
from mer_ray.core.config import where_or_how_fast
from mer_ray.core.errors import EncoderError
from mer_ray.encoders._checkpoint_file import read_state_dict
from mer_ray.encoders._pretrained import COMPUTE_DTYPES
from mer_ray.encoders._vision import FACE_CHOICES, Faces, VisionEncoderConfig

# A count of training steps in batch norms, which older versions of torch did not store and nothing reads here.
UNREAD_SUFFIX = "num_batches_tracked"


class FaceNetworkConfig(VisionEncoderConfig):
    """One file of weights, as published or converted to safetensors, and where faces come from; `size` is the network's input.

    The network was trained on faces, so `faces` has no default: whole pictures give features that mean nothing.
    """

    faces: Faces
    weights: Path = where_or_how_fast()
    size: int = Field(224, ge=32, le=1024)

    @model_validator(mode="before")
    @classmethod
    def _faces_are_chosen(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("faces") is None:
            raise ValueError(f"encoder {data.get('name', cls.model_fields['name'].default)} was trained on faces; faces: {FACE_CHOICES}")
        return data

    @field_validator("weights")
    @classmethod
    def _make_weights_absolute(cls, weights: Path) -> Path:
        # Workers run in folders of their own.
        return weights.expanduser().absolute()

    @property
    def decoded_size(self) -> int:
        """The network's own input."""
        return self.size

    def network_digest(self) -> str:
        """The sha256 of the file."""
        return digest_file(self.file())

    def num_weight_bytes(self) -> int:
        """All parameters of the published network in the compute type."""
        return self.checkpoints[0].num_parameters * COMPUTE_DTYPES[self.compute].itemsize

    def file(self) -> Path:
        """The file of weights.

        Raises:
            EncoderError: there is none.

        """
        if not self.weights.is_file():
            raise EncoderError(f"weights {self.weights}: no such file; download what `mer-ray encoders` names for {self.name}")
        return self.weights


def load_network(
    config: FaceNetworkConfig, make: Callable[[], nn.Module], unused: Collection[str], device: torch.device, dtype: torch.dtype
) -> Any:
    """The frozen network on `device` with the tensors of `config.weights`; `unused` are prefixes of what features do not need.

    Raises:
        EncoderError: the file cannot be read, or it holds another network; it names what is missing, left over or of another shape.

    """
    found = read_state_dict(config.file())
    # Without memory or random numbers: the file fills it.
    with torch.device("meta"):
        network = make()
    wanted = network.state_dict()
    counts = {name: torch.zeros((), dtype=torch.int64) for name in wanted if name.endswith(UNREAD_SUFFIX)}
    missing = [name for name in wanted if name not in found and name not in counts]
    extra = [name for name in found if name not in wanted and not name.startswith(tuple(unused))]
    misshapen = [
        f"{name} {_shape(found[name])} where {_shape(wanted[name])} is needed"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    faults = [
        f"{len(names)} {kind}, e.g. {', '.join(names[:3])}"
        for kind, names in (("tensors are missing", missing), ("are left over", extra), ("have another shape", misshapen))
        if names
    ]
    if faults:
        raise EncoderError(f"weights {config.weights}: not the network of encoder {config.name} ({'; '.join(faults)})")
    network.load_state_dict({name: found.get(name, counts.get(name)) for name in wanted}, assign=True)
    return network.eval().requires_grad_(False).to(device, dtype)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
