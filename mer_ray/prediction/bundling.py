"""`mer-ray bundle`: several runs as one bundle, whose predictions are averaged with weights."""

import itertools
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from mer_ray.core.artefacts import versions, write_text
from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.core.errors import ConfigError, RunError
from mer_ray.core.table import Table
from mer_ray.training.bundle_facts import (
    ADAPTERS_FOLDER,
    CARD_NAME,
    FACTS_NAME,
    MEMBERS_FOLDER,
    PLUGINS_FOLDER,
    BundleFacts,
    GroupFacts,
    Positive,
    read_bundle_facts,
    read_train_clips,
    write_bundle_facts,
    write_train_clips,
)
from mer_ray.training.model_card import write_card


class BundleConfig(Config):
    """Which runs (or bundles) become one bundle in `out`; `weights`, one per run, default equal (our choice)."""

    runs: tuple[Path, ...] = where_or_how_fast(min_length=1)
    weights: tuple[Positive, ...] | None = Field(None)
    out: Path = where_or_how_fast()

    @model_validator(mode="after")
    def _one_weight_per_run(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.runs):
            raise ValueError(f"weights: {len(self.weights)} for {len(self.runs)} runs; give one per run, or none for equal weights")
        return self


def join_bundles(config: BundleConfig) -> list[Table]:
    """Write the joint bundle; an older bundle in `out` is replaced as a whole.

    Raises:
        RunError: a run without a bundle, or `out` holds something that is no bundle.
        ConfigError: runs that predict other classes or values, or values of another scale.

    """
    folders = [folder / "bundle" if (folder / "bundle" / FACTS_NAME).is_file() else folder for folder in config.runs]
    if any(config.out.resolve() in (folder.resolve(), *folder.resolve().parents) for folder in folders):
        raise ConfigError(f"out: {config.out} holds one of the runs, which would be lost; choose another folder")
    parts = [read_bundle_facts(folder) for folder in folders]
    _check_alike(config, parts)
    if config.out.is_dir() and any(config.out.iterdir()) and not (config.out / FACTS_NAME).is_file():
        raise RunError(f"{config.out}: is not empty and holds no bundle; give another `out`, or empty it")
    new, old = (config.out.with_name(f".{config.out.name}.{os.getpid()}.{age}") for age in ("new", "old"))
    try:
        groups = _write_joint(config, folders, parts, new)
        if config.out.exists():
            os.replace(config.out, old)
        os.replace(new, config.out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        # What a full disk left.
        shutil.rmtree(new, ignore_errors=True)
    rows = tuple((group.run, len(group.members), group.weight, ", ".join(stream.name for stream in group.streams)) for group in groups)
    return [Table(f"Bundle: {config.out}", ("run", "models", "weight", "streams"), rows)]


def _write_joint(config: BundleConfig, folders: Sequence[Path], parts: Sequence[BundleFacts], new: Path) -> list[GroupFacts]:
    shutil.rmtree(new, ignore_errors=True)
    (new / MEMBERS_FOLDER).mkdir(parents=True)
    weights = config.weights or (1.0,) * len(parts)
    groups: list[GroupFacts] = []
    for number, (folder, part, weight) in enumerate(zip(folders, parts, weights, strict=True)):
        for name in (PLUGINS_FOLDER, ADAPTERS_FOLDER):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, new / name, dirs_exist_ok=True)
        factor = weight / sum(group.weight for group in part.groups)
        groups += [_copy_group(group, folder, new, number, factor) for group in part.groups]
    first = parts[0]
    joint = first.model_copy(
        update={
            "mer_ray": versions()["mer-ray"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "corpus": ", ".join(dict.fromkeys(part.corpus for part in parts)),
            "corpus_licence": "; ".join(dict.fromkeys(part.corpus_licence for part in parts if part.corpus_licence)) or None,
            "prior_probs": tuple(np.average([part.prior_probs for part in parts], axis=0, weights=weights).tolist()),
            "prior_values": tuple(
                _mean_of_known([part.prior_values[value] for part in parts], weights) for value in range(len(first.values))
            ),
            "encoders": {key: record for part in parts for key, record in part.encoders.items()},
            "groups": tuple(groups),
        }
    )
    write_train_clips(new, itertools.chain.from_iterable(read_train_clips(folder) for folder in folders))
    write_text(new / CARD_NAME, write_card(joint))
    write_bundle_facts(new, joint)
    return groups


def _check_alike(config: BundleConfig, parts: list[BundleFacts]) -> None:
    first = parts[0]
    for folder, part in zip(config.runs, parts, strict=True):
        if (part.classes, part.values) != (first.classes, first.values):
            here, there = (", ".join(one.classes + one.values) for one in (part, first))
            raise ConfigError(f"runs: {folder} predicts {here}; {config.runs[0]} {there}: only runs that predict the same can be joined")
        if part.value_ranges != first.value_ranges:
            raise ConfigError(
                f"runs: values of {folder} lie in {_shown(part)}, of {config.runs[0]} in {_shown(first)}: "
                "only values of one scale can be joined"
            )


def _copy_group(group: GroupFacts, folder: Path, new: Path, number: int, factor: float) -> GroupFacts:
    def copied(file: str) -> str:
        copy = str(Path(file).with_name(f"{number}-{Path(file).name}"))
        if not (folder / file).is_file():
            raise RunError(f"{folder / file}: is missing; copy the bundle again, whole")
        shutil.copyfile(folder / file, new / copy)
        return copy

    members = tuple(member.model_copy(update={"file": copied(member.file)}) for member in group.members)
    held_out = None if group.held_out is None else copied(group.held_out)
    return group.model_copy(update={"members": members, "weight": group.weight * factor, "held_out": held_out})


def _shown(facts: BundleFacts) -> str:
    return ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in facts.value_ranges.items()) or "no known range"


def _mean_of_known(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
