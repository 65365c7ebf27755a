"""What is sent with a job: the project, the job's files and plug-ins, and nothing else."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mer_ray
from mer_ray.core.errors import ConfigError

# The project is 3 MB; far more is data that was taken for a plug-in or a list of variables.
MAX_BYTES = 50 * 2**20
PROJECT = Path(mer_ray.__file__).parent
LEFT_OUT = ("__pycache__",)


@dataclass(frozen=True)
class Shipment:
    """Files by their place in the job's working folder."""

    files: Mapping[str, Path]

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    def write(self, folder: Path) -> None:
        """Copy all into a folder."""
        for name, path in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def pack(files: Sequence[Path], root: Path) -> Shipment:
    """The project and these files, which keep their places below `root`.

    Raises:
        ConfigError: a file lies elsewhere or in a place of the package's own, or all together are too large.

    """
    found = {f"{PROJECT.name}/{path.relative_to(PROJECT)}": path for path in sorted(PROJECT.rglob("*")) if _belongs(path)}
    for path in files:
        name = str(place_of(path, root))
        if name in found and not path.samefile(found[name]):
            raise ConfigError(
                f"{path}: would lie in the place of the package's own {name}; give its folder another name than {PROJECT.name}"
            )
        found[name] = path.absolute()
    shipment = Shipment(found)
    if shipment.num_bytes > MAX_BYTES:
        largest = max(found.values(), key=lambda path: path.stat().st_size)
        raise ConfigError(
            f"{shipment.num_bytes / 1e6:.0f} MB to send, {MAX_BYTES / 1e6:.0f} MB are allowed; the largest file is {largest} with "
            f"{largest.stat().st_size / 1e6:.0f} MB: put data where the cluster sees them"
        )
    return shipment


def place_of(path: Path, root: Path) -> Path:
    """Where a file lies below `root`, and will lie below the job's folder.

    Raises:
        ConfigError: it lies elsewhere.

    """
    real = Path(os.path.realpath(path.parent), path.name)
    if not real.is_relative_to(os.path.realpath(root)):
        raise ConfigError(f"{path}: lies outside {root}, so that it cannot be sent with the job; run submit from a folder above it")
    return real.relative_to(os.path.realpath(root))


def _belongs(path: Path) -> bool:
    return path.is_file() and not any(part in LEFT_OUT for part in path.parts)
