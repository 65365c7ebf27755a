"""The files and folders that a job names, and whether a cluster sees them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mer_ray.core.config import find_places
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugins import PluginConfig
from mer_ray.tuning.config import CONFIG_START, TuneConfig
from mer_ray.tuning.draws import sample_draws
from mer_ray.workflow.job import Job


def refuse_unseen(job: Job, shared: Sequence[Path]) -> None:
    """Refuse a job that names a place of this machine; `shared` are folders that all machines of the cluster mount at the same path.

    Raises:
        ConfigError: a line for each such place.

    """
    shipped = {Path(os.path.abspath(path)) for path in shipped_files(job)}
    faults: dict[str, str] = {}
    for number, step in enumerate(job.steps, start=1):
        for key, text in _places_of(step.config):
            path = Path(os.path.abspath(os.path.expanduser(text)))
            if "://" in text or path in shipped or any(path.is_relative_to(folder) for folder in shared):
                continue
            faults.setdefault(
                text,
                f"step {number} ({step.verb.name}): {key}: {text}: a place of this machine, which the cluster does not see; "
                "use s3://..., or a folder that all its machines mount, named with --shared FOLDER",
            )
    if faults:
        raise ConfigError("\n".join(faults.values()))


def shipped_files(job: Job) -> list[Path]:
    """What travels with a job: its own files, plug-ins, and configs that a search starts from."""
    found = list(job.files)
    for step in job.steps:
        found += _plugin_files(step.config)
        if isinstance(step.config, TuneConfig):
            found += [Path(start[CONFIG_START]) for start in step.config.starts if set(start) == {CONFIG_START}]
    return list(dict.fromkeys(found))


def _places_of(config: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(config, TuneConfig):
        yield from find_places(config)
        return
    yield "out", str(config.out)
    kind, _, place = (config.storage or "").partition(":")
    if kind in ("journal", "sqlite"):
        yield "storage", place
    drawn = config.target.parse(next(sample_draws(config.space, config.seed, 1)))
    for key, text in find_places(drawn):
        if key.rpartition(".")[2] != "out":
            yield f"{config.target.where}.{key}", text


def _plugin_files(config: Any) -> Iterator[Path]:
    if isinstance(config, PluginConfig):
        yield config.file
    if isinstance(config, TuneConfig):
        config = config.target.parse(next(sample_draws(config.space, config.seed, 1)))
    for name in type(config).model_fields if hasattr(type(config), "model_fields") else ():
        value = getattr(config, name)
        for item in value if isinstance(value, (list, tuple)) else (value,):
            yield from _plugin_files(item)
