"""The files of cluster/ and every shell line in them: set-up commands, entrypoints, RUN lines, code blocks and commands in comments."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from snippets import REPOSITORY, blocks_of

CLUSTER = REPOSITORY / "cluster"
RAY_UP_FILES = ("aws.yaml", "gcp.yaml")
RAY_JOB_FILES = ("rayjob_extract.yaml", "rayjob_train.yaml", "rayjob_search.yaml")
KUBERAY_FILES = (*RAY_JOB_FILES, "raycluster.yaml")
COMMAND_KEYS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
# A command shown in a comment is indented by three spaces, or follows a colon.
COMMENTED = re.compile(r"^#(?:   |.*: )((?:mer-ray|ray|docker|prometheus) .*)$", re.MULTILINE)
# Ways to get machines that bring tests of their own.
ELSEWHERE = {"local", "slurm"}


@dataclass(frozen=True)
class ShellLine:
    """A line as a shell gets it, and where it stands."""

    text: str
    where: str


def load(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))


def own_files() -> list[Path]:
    files = [path for path in CLUSTER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path for path in files if path.relative_to(CLUSTER).parts[0] not in ELSEWHERE)


def run_lines() -> list[str]:
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.removeprefix("RUN ") for line in text.splitlines() if line.startswith("RUN ")]


def shell_lines() -> list[ShellLine]:
    """All lines, each once per place."""
    lines = []
    for path in own_files():
        name = str(path.relative_to(CLUSTER))
        if path.suffix == ".yaml" or path.name == "Dockerfile":
            lines += [ShellLine(text, f"{name}, comment") for text in COMMENTED.findall(path.read_text(encoding="utf-8"))]
        if path.suffix == ".yaml":
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                lines += list(_lines_within(document, name))
        elif path.suffix == ".md":
            blocks = blocks_of(str(path.relative_to(REPOSITORY)), "sh")
            joined = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
            lines += [ShellLine(line, name) for line in joined if line.strip()]
    return lines + [ShellLine(line, "Dockerfile, RUN") for line in run_lines()]


def _lines_within(value: Any, where: str) -> list[ShellLine]:
    """Commands under any key that Ray or KubeRay gives to a shell, at any depth: node types have set-up commands, too."""
    if isinstance(value, list):
        return [line for item in value for line in _lines_within(item, where)]
    if not isinstance(value, dict):
        return []
    found = []
    for key, item in value.items():
        if key in COMMAND_KEYS:
            found += [ShellLine(text, f"{where}, {key}") for text in item]
        elif key == "entrypoint":
            found.append(ShellLine(item, f"{where}, entrypoint"))
        else:
            found += _lines_within(item, where)
    return found


def untested_prefixes() -> list[str]:
    """First column of the table of what is not tested."""
    section = (CLUSTER / "README.md").read_text(encoding="utf-8").partition("## What is not tested here")[2]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def is_listed(line: str) -> str | None:
    """The prefix that says that no test runs the line."""
    return next(
        (prefix for prefix in untested_prefixes() if line == prefix or line.startswith(prefix + " ") or line.startswith(prefix + "=")), None
    )
