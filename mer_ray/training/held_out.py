"""Which models of a run never saw which of the clips that it learnt from: a line per clip, its digest and the folds that held it out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mer_ray.core.artefacts import write_text
from mer_ray.core.errors import RunError
from mer_ray.training.protocol import Partition

HELD_OUT_NAME = "held_out.txt"


def folds_held_out(found: Sequence[Partition], dev_decides: bool) -> dict[int, tuple[int, ...]]:
    """By row number of every training clip the folds that tested it, whose models neither trained nor stopped on it.

    Dev clips are there, too, where they decided on epochs or settings.
    """
    held_out: dict[int, tuple[int, ...]] = {int(row): () for partition in found for row in partition.train}
    for partition in found:
        if dev_decides and partition.dev is not None:
            held_out |= {int(row): () for row in partition.dev if int(row) not in held_out}
        if partition.fold is not None:
            for row in np.concatenate(list(partition.test.values())).tolist():
                if row in held_out:
                    held_out[row] = (*held_out[row], partition.fold)
    return held_out


def write_held_out(path: Path, folds_of: Mapping[str, Sequence[int]]) -> None:
    """Write `<digest> [fold]...` of every clip, in the order of the digests."""
    write_text(path, "".join(f"{' '.join([digest, *map(str, folds)])}\n" for digest, folds in sorted(folds_of.items())))


def read_held_out(path: Path) -> dict[str, frozenset[int]]:
    """By digest of a clip that the run learnt from the folds whose models never saw it; no model saw other clips.

    Raises:
        RunError: the file is missing or damaged.

    """
    if not path.is_file():
        raise RunError(f"{path}: is missing; copy the bundle again, whole")
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    try:
        return {digest: frozenset(map(int, folds)) for digest, *folds in lines}
    except ValueError as error:
        raise RunError(f"{path}: is damaged; copy the bundle again, whole") from error
