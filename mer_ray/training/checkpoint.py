"""Checkpoints: files of tensors and plain values, written whole or not at all, read with `weights_only=True`."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mer_ray.core.errors import RunError


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a kill in the middle leaves the last checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, to the CPU.

    Raises:
        RunError: the file is damaged, or holds more than tensors and plain values.

    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise RunError(
            f"{path}: not a checkpoint that can be read ({str(error).partition(chr(10))[0]}); delete it to train this part anew"
        ) from error
    return state
