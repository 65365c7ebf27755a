"""The clips that a probe is made on, in folds that share no speaker."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.errors import RunError
from mer_ray.core.manifest import MEDIA_COLUMNS, Manifest
from mer_ray.corpora.folds import BaseFoldsConfig, StratifiedFoldsConfig, assign_folds, is_labelled

TRAIN_SPLIT = "train"


@dataclass(frozen=True)
class FoldedManifest:
    """A manifest with folds; `are_new`: they were made here, and the file that was read has others or none.

    `left_out` are folds that take no part: what is chosen here can be judged by them.
    """

    manifest: Manifest
    are_new: bool
    left_out: tuple[int, ...] = ()

    @property
    def clips(self) -> pa.Table:
        """The rows of labelled clips that are in a fold which takes part."""
        table = self.manifest.table
        labelled = table.filter(pc.and_(pc.is_valid(table["fold"]), pa.array(is_labelled(table))))
        return labelled.filter(pc.invert(pc.is_in(labelled["fold"], pa.array(self.left_out, labelled["fold"].type))))


def fold_clips(path: Path, manifest: Manifest, wanted: BaseFoldsConfig | None, seed: int, left_out: Sequence[int] = ()) -> FoldedManifest:
    """The manifest's own folds or, as `wanted` or where it has none, new ones; those `left_out` take no part.

    Raises:
        ManifestError: too few clips or speakers for new folds.
        RunError: no labelled clip is in a fold, a speaker is in two, no such fold to leave out, or no split that may be looked at.

    """
    has_folds = manifest.table["fold"].null_count < manifest.table.num_rows
    if wanted is None and has_folds:
        folded = FoldedManifest(manifest, are_new=False, left_out=tuple(left_out))
    else:
        folding = wanted or StratifiedFoldsConfig(seed=seed, splits=_splits_to_fold(path, manifest.table))
        table = manifest.table
        place, field = table.column_names.index("fold"), table.schema.field("fold")
        table = table.set_column(place, field, pa.nulls(table.num_rows, field.type))
        table = assign_folds(table, folding, _number_media(table))
        folded = FoldedManifest(Manifest(table, replace(manifest.facts, folds=folding.describe())), are_new=True, left_out=tuple(left_out))
    there = set(folded.manifest.table["fold"].to_pylist()) - {None}
    absent = next((fold for fold in left_out if fold not in there), None)
    if absent is not None:
        raise RunError(f"test_folds: {path} has no fold {absent}; it has {', '.join(map(str, sorted(there)))}")
    _check(path, folded.clips)
    return folded


def _splits_to_fold(path: Path, table: pa.Table) -> tuple[str, ...] | None:
    """The training split, so that no choice is made on clips of a test; None where all labelled clips are of one split, or of none."""
    splits = set(table.filter(pa.array(is_labelled(table)))["split"].to_pylist())
    if TRAIN_SPLIT in splits:
        return (TRAIN_SPLIT,)
    if len(splits) > 1:
        names = ", ".join(sorted(split for split in splits if split is not None))
        raise RunError(
            f"{path}: has no folds, and labelled clips of the splits {names}; name those that layers may be chosen on: "
            "folds.name=stratified 'folds.splits=[...]'"
        )
    return None


def _number_media(table: pa.Table) -> list[int]:
    """A number per clip, equal for clips of one media file: where speakers are unknown these may be of one speaker."""
    numbers: dict[object, int] = {}
    rows = table.select(MEDIA_COLUMNS).to_pylist()
    paths = [next((row[name] for name in MEDIA_COLUMNS if row[name] is not None), number) for number, row in enumerate(rows)]
    return [numbers.setdefault(path, len(numbers)) for path in paths]


def _check(path: Path, clips: pa.Table) -> None:
    if clips.num_rows == 0:
        raise RunError(f"{path}: no labelled clip is in a fold; make the manifest again with folds of labelled clips, or set folds")
    folds_of: dict[str, set[int]] = defaultdict(set)
    for speaker, fold in zip(clips["speaker_id"].to_pylist(), clips["fold"].to_pylist(), strict=True):
        if speaker is not None:
            folds_of[speaker].add(fold)
    shared = {speaker: sorted(folds) for speaker, folds in folds_of.items() if len(folds) > 1}
    if shared:
        speaker, folds = next(iter(shared.items()))
        raise RunError(
            f"{path}: speaker {speaker!r} is in folds {', '.join(map(str, folds))} ({len(shared)} such speakers), so that layers that know "
            "voices and faces would win; make folds by speaker here: folds.name=stratified"
        )
