"""`mer-ray doctor`: what this machine and the cluster can do, in one table."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from mer_ray.core.artefacts import hardware, versions
from mer_ray.core.table import Table
from mer_ray.workflow.ray_doctor import examine_cluster

# Below this a feature store, checkpoints and Ray's spill files soon fill the disk.
LOW_DISK_GIB = 10.0


def examine(folder: Path) -> tuple[Table, bool]:
    """Versions, processor, memory, GPUs, free disk below `folder`, and the Ray cluster; and whether all is well."""
    machine = hardware()
    rows: list[tuple[str, str, str]] = [("version", name, version) for name, version in versions().items()]
    rows += [
        ("machine", "processor", f"{machine['processor']} ({machine['machine']}), {machine['cores']} cores usable"),
        ("machine", "memory", f"{machine['memory_gib']} GiB, {_available_gib():.1f} GiB available"),
    ]
    free_gib = shutil.disk_usage(folder).free / 2**30
    rows.append(
        (
            "machine",
            "disk",
            f"{free_gib:.1f} GiB free below {folder}" + (": little for features and checkpoints" if free_gib < LOW_DISK_GIB else ""),
        )
    )
    rows += _gpu_rows()
    cluster_rows, cluster_is_well = examine_cluster()
    rows += cluster_rows
    return Table("mer-ray doctor", ("", "what", "found"), tuple(rows)), cluster_is_well


def _available_gib() -> float:
    """What processes can still take, caches counted as free."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 2**30


def _gpu_rows() -> Sequence[tuple[str, str, str]]:
    if not torch.cuda.is_available():
        return [("machine", "GPU", "none that torch can use; extraction and training run on the CPU")]
    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        found.append(("machine", f"GPU {index}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {bf16}"))
    return found
