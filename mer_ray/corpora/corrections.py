"""Corrected labels: the CSV that the error page of a report saves, applied to the rows of a corpus.

clip_id,emotion,old_emotion,note        emotion: the new label, `-` = leave the clip out, empty = the label is unknown
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mer_ray.core.artefacts import digest_file
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Scan
from mer_ray.corpora.cells import is_unknown
from mer_ray.corpora.faults import Fault, faults_error
from mer_ray.corpora.table_source import read_table
from mer_ray.corpora.validation import class_fault

COLUMNS = ("clip_id", "emotion", "old_emotion", "note")
LEAVE_OUT = "-"


@dataclass(frozen=True)
class Correction:
    """One line of the file: the new label and the one that the reviewer saw, None = unknown."""

    line: int
    clip_id: str
    emotion: str | None
    old_emotion: str | None

    @property
    def leaves_out(self) -> bool:
        """Whether the clip is unusable."""
        return self.emotion == LEAVE_OUT


def apply_corrections(scan: Scan, facts: ManifestFacts, files: Sequence[Path]) -> tuple[Scan, ManifestFacts]:
    """The corpus with the labels of the files, one after the other; each file must fit the labels that the ones before it left.

    A corrected soft label becomes one-hot. A clip that is left out takes its faults with it.

    Raises:
        ManifestError: a file cannot be read, or has faults, all of them in one message.

    """
    for path in files:
        corrections, faults = read_corrections(path)
        faults = sorted([*faults, *_check(corrections, scan, facts)], key=lambda fault: (fault.row is not None, fault.row or 0))
        if faults:
            raise faults_error(str(path), faults, "nothing was written; correct the lines or remove them")
        scan = _apply({one.clip_id: one for one in corrections}, scan, facts, path.name)
        facts = replace(facts, corrections=(*(facts.corrections or ()), digest_file(path)))
    return scan, facts


def read_corrections(path: Path) -> tuple[list[Correction], list[Fault]]:
    """The lines of a file, and those that are none.

    Raises:
        ManifestError: no such file, not a CSV, or not these columns.

    """
    if path.suffix != ".csv":
        raise ManifestError(f"{path}: corrections are a .csv with the columns {','.join(COLUMNS)}, as the report's error page saves it")
    raw = read_table(str(path), None)
    if tuple(raw.columns) != COLUMNS:
        raise ManifestError(f"{path}: has the columns {','.join(raw.columns)}; corrections have {','.join(COLUMNS)}")
    rows = zip(raw.row_numbers, *[raw.columns[name] for name in COLUMNS[:3]], strict=True)
    return [Correction(line, clip_id, _known(emotion), _known(old)) for line, clip_id, emotion, old in rows], raw.faults


def _known(cell: str) -> str | None:
    return None if is_unknown(cell) else cell.strip()


def _check(corrections: Sequence[Correction], scan: Scan, facts: ManifestFacts) -> list[Fault]:
    present = dict(zip(scan.clip_ids, scan.table["emotion"].to_pylist(), strict=True))
    first_of: dict[str, Correction] = {}
    faults = []
    for one in corrections:
        first = first_of.setdefault(one.clip_id, one)
        problem = _problem(one, first, present, facts)
        if problem is not None:
            faults.append(Fault(one.line, one.clip_id, *problem))
    return faults


def _problem(
    one: Correction, first: Correction, present: Mapping[str | None, str | None], facts: ManifestFacts
) -> tuple[str, str, str] | None:
    """Column, what is wrong and what is allowed."""
    if one.clip_id not in present:
        return "clip_id", f"is no clip of {facts.corpus}", "ids of the corpus that the report was made of"
    wrong = None if one.leaves_out or one.emotion is None else class_fault(one.emotion, facts.classes)
    if wrong is not None:
        return "emotion", wrong[0], f"{wrong[1]}, {LEAVE_OUT} to leave the clip out, or empty for unknown"
    if one.emotion != first.emotion:
        return (
            "emotion",
            f"{_shown(one.emotion)}, but row {first.line} says {_shown(first.emotion)} of the same clip",
            "one label for one clip",
        )
    if one.old_emotion != present[one.clip_id]:
        what = f"{_shown(one.old_emotion)}, but the clip's label here is {_shown(present[one.clip_id])}: the file belongs to other labels"
        return "old_emotion", what, "corrections of a run on this corpus, label map and earlier corrections"
    return None


def _shown(emotion: str | None) -> str:
    return "no label" if emotion is None else repr(emotion)


def _apply(corrections: Mapping[str, Correction], scan: Scan, facts: ManifestFacts, file: str) -> Scan:
    emotions = scan.table["emotion"].to_pylist()
    soft_labels: list[Any] = scan.table["emotion_probs"].to_pylist()
    kept, counts = [], Counter[str]()
    for index, clip_id in enumerate(scan.clip_ids):
        one = corrections.get(clip_id) if clip_id is not None else None
        if one is not None and one.leaves_out:
            counts["left out"] += 1
            continue
        kept.append(index)
        if one is None:
            continue
        if one.emotion == one.old_emotion:
            counts["unchanged"] += 1
            continue
        counts["corrected" if one.emotion is not None else "made unknown"] += 1
        emotions[index] = one.emotion
        if soft_labels[index] is not None:
            soft_labels[index] = None if one.emotion is None else [float(name == one.emotion) for name in facts.classes]
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "no line"
    left_out = {scan.row_numbers[index] for index in set(range(len(emotions))) - set(kept)}
    scan = scan.with_columns(emotion=emotions, emotion_probs=soft_labels)
    return replace(
        scan,
        table=scan.table.take(kept),
        row_numbers=[scan.row_numbers[index] for index in kept],
        faults=[fault for fault in scan.faults if fault.row is None or fault.row not in left_out],
        notes=[*scan.notes, f"{file}: {told}"],
    )
