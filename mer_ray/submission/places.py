"""The files and folders that a job names, and whether a cluster sees them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mer_ray.core.config import find_places
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugins import plugin_files
from mer_ray.tuning.config import CONFIG_START, TuneConfig
from mer_ray.tuning.draws import sample_draws
from mer_ray.tuning.targets import NUM_SAMPLES
from mer_ray.workflow.job import Job


def refuse_unseen(job: Job, shared: Sequence[Path]) -> None:
    """Refuse a job that names a place of this machine; `shared` are folders that all machines of the cluster mount at the same path.

    Raises:
        ConfigError: a line for each such place.

    """
    shipped = {_real(path) for path in shipped_files(job)}
    roots = [_real(folder) for folder in shared]
    faults: dict[str, str] = {}
    for number, step in enumerate(job.steps, start=1):
        for key, text in _places_of(step.config):
            path = _real(Path(text).expanduser())
            # What is sent lies elsewhere there: only its place below the job's folder is the same.
            is_sent = path in shipped and not Path(text).is_absolute()
            if "://" in text or is_sent or any(path.is_relative_to(root) for root in roots):
                continue
            faults.setdefault(
                text,
                f"step {number} ({step.verb.name}): {key}: {text}: a place of this machine, which the cluster does not see",
            )
    if faults:
        raise ConfigError(
            "\n".join(faults.values()) + "; use s3://..., or a folder that all its machines mount, named with --shared FOLDER"
        )


def shipped_files(job: Job) -> list[Path]:
    """What travels with a job: its own files, plug-ins, and configs that a search starts from."""
    found = list(job.files)
    for step in job.steps:
        found += [file.path for config in _configs_of(step.config) for file in plugin_files(config)]
        if isinstance(step.config, TuneConfig):
            found += [Path(text) for _, text in _start_files(step.config)]
    return list(dict.fromkeys(found))


def _real(path: Path) -> Path:
    """Without symbolic links: folders that are shared often are some."""
    return Path(os.path.realpath(path))


def _places_of(config: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(config, TuneConfig):
        yield from find_places(config)
        return
    yield "out", str(config.out)
    if config.storage_file is not None:
        yield "storage", str(config.storage_file)
    yield from _start_files(config)
    for drawn in _configs_of(config):
        for key, text in find_places(drawn):
            if key.rpartition(".")[2] != "out":
                yield f"{config.target.where}.{key}", text


def _configs_of(config: Any) -> Iterator[Any]:
    """The config of a step; of a search what it may draw, as far as a sample tells."""
    if isinstance(config, TuneConfig):
        for drawn in sample_draws(config.space, config.seed, NUM_SAMPLES):
            yield config.target.parse(drawn)
    else:
        yield config


def _start_files(config: TuneConfig) -> Iterator[tuple[str, str]]:
    for number, start in enumerate(config.starts):
        if set(start) == {CONFIG_START}:
            yield f"starts.{number}.{CONFIG_START}", str(start[CONFIG_START])
