"""What lies beside every artefact: JSON and text files written whole or not at all, and where they come from."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

RECORDED_PACKAGES = (
    *("mer-ray", "torch", "torchaudio", "ray", "transformers", "timm", "peft"),
    *("numpy", "pyarrow", "av", "opencv-python-headless", "scikit-image"),
)


def write_text(path: Path, text: str) -> None:
    """Write atomically: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, NaN refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def digest_file(path: Path) -> str:
    """The sha256 (hex) of a file; a file that has not changed since is not read again."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: Path, num_bytes: int, modified_ns: int) -> str:
    """Size and time belong to the key of the cache, so that a changed file is read again."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide results."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}}


def git_revision() -> str | None:
    """The revision of the working folder's git checkout, `-dirty` where files differ; None outside a checkout."""
    try:
        found = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True, check=False)  # noqa: S607 - git of the user's PATH
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None


def num_cores() -> int:
    """The processor cores that this process may use; all of the machine's where the system knows no affinity."""
    # Not `os.sched_getaffinity` by name: it is missing, for mypy too, on macOS and Windows.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    """The machine that a figure was measured on: processor, cores, memory (GiB)."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": num_cores(),
        "memory_gib": round(memory_gib, 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
