"""The `joined` corpus: several corpora as one, for training and testing across them."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mer_ray.core.config import Config
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import PATH_COLUMNS, VALUE_COLUMNS, ManifestFacts
from mer_ray.corpora._base import BaseCorpusConfig, Corpus, CorpusName, Scan, ValueRanges
from mer_ray.corpora.faults import Fault, MemberRow, SourceRow
from mer_ray.corpora.label_maps import KNOWN_CLASSES, LabelMapConfig, change_labels
from mer_ray.corpora.paths import LINK_ADVICE, common_root, is_remote, why_linked_outside
from mer_ray.corpora.single import SingleCorpus
from mer_ray.corpora.validation import check_rows


class MemberConfig(Config):
    """One corpus of several. `label_map` and `values_to`: into the terms of the others.

    `split`: of all its clips, instead of its own splits; `split: test` tests on the whole corpus. `keep_folds: false` forgets
    the folds that it comes with, so that `folds` of the manifest can make new ones.
    """

    corpus: SingleCorpus
    label_map: LabelMapConfig | None = None
    values_to: ValueRanges = Field(default_factory=dict)
    split: str | None = Field(None, min_length=1)
    keep_folds: bool = True


class JoinedCorpusConfig(BaseCorpusConfig):
    """Several corpora with the same classes. A clip's id is `<corpus>/<its id there>`, a speaker's likewise; column `corpus` names it."""

    name: Literal["joined"] = "joined"
    corpus_name: CorpusName
    members: tuple[MemberConfig, ...] = Field(min_length=2)

    def build(self) -> "JoinedCorpus":
        """The corpus; its members are read at the first use."""
        return JoinedCorpus(self)

    def places(self) -> tuple[str, ...]:
        """Those of all members."""
        return tuple(place for member in self.members for place in member.corpus.places())


@dataclass(frozen=True)
class Member:
    """One corpus with its labels as they go into the joined one."""

    place: int
    scan: Scan
    facts: ManifestFacts

    @property
    def name(self) -> str:
        """As clip ids, notes and faults name it."""
        return self.facts.corpus

    def row(self, number: SourceRow | None) -> MemberRow | None:
        """A row number of the member as one of the joined corpus."""
        return MemberRow(self.place, number, self.name) if isinstance(number, int) else None

    def prefixed(self, name: str | None) -> str | None:
        """An id of the member as one of the joined corpus."""
        return None if name is None else f"{self.name}/{name}"


class JoinedCorpus(Corpus):
    """The rows of all members, each checked against its own folder and facts."""

    def __init__(self, config: JoinedCorpusConfig) -> None:
        self.config = config

    def facts(self) -> ManifestFacts:
        """What holds for all members.

        Raises:
            ConfigError: a label map or range does not fit its member.
            ManifestError: a member cannot be read, or members differ in their classes, in the range of a value, or in where they lie.

        """
        return self._facts

    def scan(self) -> Scan:
        """The rows of all members, in their order; errors as of `facts`."""
        scans = [_join_scan(member, self._facts.root) for member in self._members]
        return Scan(
            pa.concat_tables([scan.table for scan in scans]).combine_chunks(),
            [number for scan in scans for number in scan.row_numbers],
            [fault for scan in scans for fault in scan.faults],
            needs_sources=False,
            notes=[*(note for scan in scans for note in scan.notes), *_notes_on_folds(self._members)],
            is_checked=True,
        )

    @cached_property
    def _members(self) -> list[Member]:
        members = [_read_member(place, config) for place, config in enumerate(self.config.members)]
        names = [member.name for member in members]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ManifestError(
                f"corpus.members: two of them are called {twice!r}; join each corpus once; table, files and mertools take a corpus_name"
            )
        return members

    @cached_property
    def _facts(self) -> ManifestFacts:
        members = self._members
        root = common_root([member.facts.root for member in members])
        if root is None:
            places = "; ".join(f"{member.name} in {member.facts.root}" for member in members)
            raise ManifestError(f"corpus.members: all lie on local disks, or all in one bucket; here {places}; copy one beside the other")
        licences = [f"{member.name}: {member.facts.licence or 'unknown'}" for member in members]
        label_maps = {name: mapped for member in members for name, mapped in (member.facts.label_maps or {}).items()}
        return ManifestFacts(
            corpus=self.config.corpus_name,
            classes=_common_classes(members),
            root=root,
            value_ranges=_common_ranges(members),
            licence="; ".join(licences) if any(member.facts.licence for member in members) else None,
            label_maps=label_maps or None,
        )


def _read_member(place: int, config: MemberConfig) -> Member:
    corpus = config.corpus.build()
    scan, facts = corpus.scan(), corpus.facts()
    faults = [*scan.faults, *check_rows(scan, facts)]
    scan = replace(scan, faults=[*faults, *_linked_outside(scan, facts.root, faults)])
    changed: dict[str, Sequence[Any]] = {}
    if config.split is not None:
        changed["split"] = [config.split] * scan.table.num_rows
    if not config.keep_folds:
        changed["fold"] = [None] * scan.table.num_rows
    scan, facts = change_labels(scan.with_columns(**changed), facts, config.label_map, config.values_to)
    return Member(place, scan, facts)


def _linked_outside(scan: Scan, root: str, faults: Sequence[Fault]) -> list[Fault]:
    """Files that a symbolic link takes out of the member's own root; the joined root, which is wider, would allow some."""
    if is_remote(root):
        return []
    refused = {(fault.row, fault.column) for fault in faults}
    allowed = f"files that lie in {root}; {LINK_ADVICE}"
    found = []
    for name in PATH_COLUMNS:
        for index, path in enumerate(scan.table[name].to_pylist()):
            linked = path is not None and (scan.row_numbers[index], name) not in refused and why_linked_outside(path, root)
            if linked:
                found.append(scan.fault(index, name, f"{path!r} {linked}", allowed))
    return found


def _join_scan(member: Member, root: str) -> Scan:
    """The member's rows as those of the joined corpus."""
    scan, name = member.scan, member.name
    columns: dict[str, Sequence[Any]] = {
        column: [member.prefixed(value) for value in scan.table[column].to_pylist()] for column in ("clip_id", "speaker_id")
    }
    columns["corpus"] = [name] * scan.table.num_rows
    folder = _below(member.facts.root, root)
    for column in PATH_COLUMNS:
        columns[column] = [path and _join_path(folder, path) for path in scan.table[column].to_pylist()]
    faults = [
        Fault(
            member.row(fault.row),
            member.prefixed(fault.clip_id),
            fault.column,
            fault.what if fault.row is not None or fault.clip_id is not None else f"{name}: {fault.what}",
            fault.allowed,
        )
        for fault in scan.faults
    ]
    row_numbers = [row for row in map(member.row, scan.row_numbers) if row is not None]
    notes = [f"{name}: {note}" for note in scan.notes]
    return replace(scan.with_columns(**columns), row_numbers=row_numbers, faults=faults, notes=notes)


def _below(folder: str, root: str) -> str:
    """The way from the joined root to a member's; empty where they are one."""
    if is_remote(root):
        return folder.removeprefix(root).lstrip("/")
    return "" if folder == root else os.path.relpath(folder, root)


def _join_path(folder: str, path: str) -> str:
    """Paths outside the member's root are faults of it and stay as they are."""
    return path if is_remote(path) or os.path.isabs(path) else posixpath.join(folder, path)


def _common_classes(members: Sequence[Member]) -> tuple[str, ...]:
    """The classes that all members with any have; a corpus without labels joins all others."""
    labelled = [member for member in members if member.facts.classes]
    for other in labelled[1:]:
        first, classes = labelled[0], other.facts.classes
        if classes == first.facts.classes:
            continue
        apart = [
            f"only {one.name} has {', '.join(only)}"
            for one, two in ((first, other), (other, first))
            if (only := [name for name in one.facts.classes if name not in two.facts.classes])
        ]
        if not apart:
            apart = [f"the order of {first.name} is {', '.join(first.facts.classes)}, of {other.name} {', '.join(classes)}"]
        known = next((name for name, listed in KNOWN_CLASSES.items() if listed in (first.facts.classes, classes)), None)
        advice = f"{{to: {known}}}" if known else f"{{classes: [{', '.join(first.facts.classes)}], map: {{{classes[0]}: ..., ...}}}}"
        raise ManifestError(
            f"corpus.members: {first.name} and {other.name} end with different classes: {'; '.join(apart)}; "
            f"give members a label map, e.g. `label_map: {advice}`"
        )
    return labelled[0].facts.classes if labelled else ()


def _common_ranges(members: Sequence[Member]) -> dict[str, tuple[float, float]]:
    """The range of each value that any member knows."""
    ranges = {}
    for name in VALUE_COLUMNS:
        known = [member for member in members if member.scan.table[name].null_count < member.scan.table.num_rows]
        found = {member.name: member.facts.value_ranges.get(name) for member in known}
        if len(set(found.values())) > 1:
            shown = "; ".join(f"{corpus} {'unknown' if limits is None else list(limits)}" for corpus, limits in found.items())
            raise ManifestError(
                f"corpus.members: {name} has different ranges: {shown}; give members a target, e.g. `values_to: {{{name}: [-1, 1]}}` "
                "(a table says its own range with `value_ranges`)"
            )
        limits = next(iter(found.values()), None)
        if limits is not None:
            ranges[name] = limits
    return ranges


def _notes_on_folds(members: Sequence[Member]) -> list[str]:
    """Training on folds would leave out the members that have none."""
    with_folds = [member.name for member in members if pc.count(member.scan.table["fold"]).as_py()]
    without = [member.name for member in members if member.name not in with_folds]
    if not with_folds or not without:
        return []
    return [f"only {', '.join(with_folds)} comes with folds: {', '.join(without)} has none; keep_folds: false forgets them"]
