"""Folds for cross-validation: the column `fold` of labelled clips, from 0; no speaker is in two folds."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mer_ray.core.config import Config
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA, VALUE_COLUMNS

NO_CLASS = "(no class)"

Folds = npt.NDArray[np.int32]


class BaseFoldsConfig(Config, ABC):
    """Base of the ways to fold. `splits`: whose labelled clips get a fold, default all."""

    splits: tuple[str, ...] | None = Field(None, min_length=1)

    @abstractmethod
    def describe(self) -> str:
        """What the manifest's facts say about the folds."""

    @abstractmethod
    def choose(self, clips: pa.Table, contents: Sequence[int]) -> Folds:
        """The fold of each clip of a table of labelled clips; clips of equal `contents` show the same media.

        Raises:
            ManifestError: too few speakers or clips, or no speakers.

        """


class StratifiedFoldsConfig(BaseFoldsConfig):
    """Folds with near equal shares of each class, seeded; disjoint in speakers where these are known."""

    name: Literal["stratified"] = "stratified"
    num_folds: int = Field(5, ge=2)
    seed: int = Field(0, ge=0, lt=2**32)

    def describe(self) -> str:
        """Number and seed."""
        return f"stratified, {self.num_folds} folds, seed {self.seed}, speaker-disjoint where speakers are known"

    def choose(self, clips: pa.Table, contents: Sequence[int]) -> Folds:
        """Split by scikit-learn's StratifiedGroupKFold, or StratifiedKFold where no two clips share a speaker or content."""
        # It loads pandas and all of scipy.stats, and every command loads this module.
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        strata = np.asarray(clips["emotion"].fill_null(NO_CLASS).to_pylist())
        counts = Counter(strata.tolist())
        rare = {name: count for name, count in sorted(counts.items()) if count < self.num_folds}
        if rare:
            fewest = min(rare.values())
            shown = ", ".join(f"{name!r} {count}" for name, count in rare.items())
            fewer = f"set folds.num_folds={fewest}, " if fewest > 1 else ""
            raise ManifestError(
                f"folds: {self.num_folds} folds need {self.num_folds} clips of every class, but these have fewer: {shown}; "
                f"{fewer}label more clips, or leave these classes out of the table"
            )
        groups = _groups(clips, contents)
        num_groups = len(np.unique(groups))
        if num_groups < self.num_folds:
            raise ManifestError(
                f"folds: {self.num_folds} folds, but {num_groups} speakers (or media of unknown speakers) with labelled clips, "
                "and none may be in two folds; "
                f"take at most {num_groups} folds"
            )
        options = {"n_splits": self.num_folds, "shuffle": True, "random_state": self.seed}
        if num_groups == len(groups):
            parts = StratifiedKFold(**options).split(strata, strata)
        else:
            parts = StratifiedGroupKFold(**options).split(strata, strata, groups)
        folds = np.full(len(strata), -1, dtype=np.int32)
        for fold, (_, held_out) in enumerate(parts):
            folds[held_out] = fold
        empty = sorted(set(range(self.num_folds)) - set(folds.tolist()))
        if empty:
            raise ManifestError(f"folds: fold {empty[0]} got no clip, because speakers differ too much in size; take fewer folds")
        return folds


class LeaveOneSpeakerOutConfig(BaseFoldsConfig):
    """One fold per speaker, in the order of their ids."""

    name: Literal["leave_one_speaker_out"] = "leave_one_speaker_out"

    def describe(self) -> str:
        """The protocol's name."""
        return "leave one speaker out"

    def choose(self, clips: pa.Table, contents: Sequence[int]) -> Folds:
        """Number the speakers."""
        num_unknown = clips["speaker_id"].null_count
        if num_unknown:
            raise ManifestError(
                f"folds: leave_one_speaker_out needs a speaker_id for each labelled clip, {num_unknown} of {clips.num_rows} have none; "
                "fill the column, or take `folds: {name: stratified}`"
            )
        speakers, folds = np.unique(np.asarray(clips["speaker_id"].to_pylist()), return_inverse=True)
        if len(speakers) < 2:
            raise ManifestError(f"folds: leave_one_speaker_out needs at least 2 speakers, all labelled clips are of {str(speakers[0])!r}")
        return folds.astype(np.int32)


FoldsConfig = Annotated[StratifiedFoldsConfig | LeaveOneSpeakerOutConfig, Field(discriminator="name")]


def assign_folds(table: pa.Table, config: BaseFoldsConfig, contents: Sequence[int] | None = None) -> pa.Table:
    """Fill the manifest column `fold` of labelled clips (a class or a value is known); null for all others.

    Clips of equal `contents` (one number per row; default: all differ) share a fold where their speakers are unknown.

    Raises:
        ManifestError: the table has folds of its own, no labelled clips in the splits, or cannot be folded as asked.

    """
    if table["fold"].null_count < table.num_rows:
        raise ManifestError(
            "folds: the corpus gives folds of its own; remove `folds`, or forget those of the corpus: `session_folds: false` (msp_improv, "
            "iemocap), `hicmae_folds: false` (crema_d), `ignore_columns: [fold]` (table), `keep_folds: false` (a member of joined)"
        )
    foldable = is_labelled(table)
    if config.splits is not None:
        known = sorted(set(table["split"].drop_null().to_pylist()))
        unknown = [name for name in config.splits if name not in known]
        if unknown:
            raise ManifestError(
                f"folds: no clip is in split {unknown[0]!r}; allowed: {', '.join(known) or 'none, the corpus has no splits'}"
            )
        foldable &= np.asarray(pc.is_in(table["split"], pa.array(config.splits, pa.string())), dtype=bool)
    if not foldable.any():
        raise ManifestError("folds: no labelled clip to fold; remove `folds`, or give the clips an emotion or a value")
    folds = np.full(table.num_rows, -1, dtype=np.int32)
    all_contents = np.arange(table.num_rows) if contents is None else np.asarray(contents)
    folds[foldable] = config.choose(table.filter(pa.array(foldable)), all_contents[foldable].tolist())
    column = pa.array(folds, mask=folds < 0)
    return table.set_column(table.column_names.index("fold"), MANIFEST_SCHEMA.field("fold"), column)


def is_labelled(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Clips of which a class or a value is known."""
    known = [np.asarray(pc.is_valid(table[name]), dtype=bool) for name in ("emotion", "emotion_probs", *VALUE_COLUMNS)]
    return np.asarray(np.logical_or.reduce(known), dtype=bool)


def _groups(clips: pa.Table, contents: Sequence[int]) -> npt.NDArray[np.int64]:
    """A number per speaker; a clip of an unknown speaker goes with its content and with all speakers of that content."""
    # Slow to load, and every command loads this module.
    from scipy.cluster.hierarchy import DisjointSet

    speakers = clips["speaker_id"].to_pylist()
    unclear = {content for content, speaker in zip(contents, speakers, strict=True) if speaker is None}
    members = [content if speaker is None else speaker for content, speaker in zip(contents, speakers, strict=True)]
    joined = DisjointSet([*dict.fromkeys(members), *unclear])
    for content, member in zip(contents, members, strict=True):
        if content in unclear:
            joined.merge(content, member)
    numbers: dict[str | int, int] = {}
    return np.asarray([numbers.setdefault(joined[member], len(numbers)) for member in members], dtype=np.int64)
