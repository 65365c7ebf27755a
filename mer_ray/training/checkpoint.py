"""Checkpoints: files of tensors and plain values, written whole or not at all, read with `weights_only=True`."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from mer_ray.core.errors import RunError


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a kill in the middle leaves the last checkpoint.

    Raises:
        RunError: the disk is full, or may not be written to.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(_without_rest(state), temporary)
    except (RuntimeError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{path}: cannot be written; free space there (or let it be written to), and start the run again") from error
    os.replace(temporary, path)


def _without_rest(value: Any) -> Any:
    """The value with tensors that are views copied: torch writes the whole storage that one looks at."""
    if isinstance(value, torch.Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return {key: _without_rest(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_rest(one) for one in value)
    return value


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, to the CPU.

    Raises:
        RunError: the file is damaged, or holds more than tensors and plain values.

    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise RunError(
            f"{path}: not a checkpoint that can be read (damaged, or more than tensors and plain values); delete it to train this part anew"
        ) from error
    if not isinstance(state, dict):
        raise RunError(f"{path}: not a checkpoint that can be read (holds {type(state).__name__}); delete it to train this part anew")
    return state
