"""What makes a row of a manifest valid; all faults at once."""

import difflib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mer_ray.core.manifest import MEDIA_COLUMNS, PATH_COLUMNS, VALUE_COLUMNS, ManifestFacts
from mer_ray.corpora._base import Scan
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.paths import why_outside

# Containers round their duration, and sound and picture end a frame apart.
DURATION_TOLERANCE_S = 0.1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A split names files of a run.
_SPLIT_NAME = re.compile(r"\w[\w .-]*")


class MediaHeader(Protocol):
    """What the checks need to know of a media file."""

    @property
    def duration_s(self) -> float:
        """Length of the file."""

    @property
    def has_audio(self) -> bool:
        """Whether it holds sound."""

    @property
    def has_video(self) -> bool:
        """Whether it holds pictures."""


def check_rows(scan: Scan, facts: ManifestFacts) -> list[Fault]:
    """Faults that the table alone shows: ids, paths, splits, labels, values, segments; none where the scan holds them already."""
    if scan.is_checked:
        return []
    return [
        *_check_ids(scan),
        *_check_sources(scan, facts.root),
        *_check_each(scan, "split", _split_fault),
        *_check_each(scan, "emotion", lambda emotion: class_fault(emotion, facts.classes)),
        *_check_values(scan, facts.value_ranges),
        *_check_segments(scan),
        *_check_each(scan, "fold", lambda fold: (f"{fold} is negative", "0, 1, 2, ...") if fold < 0 else None),
        *_check_fold_speakers(scan),
    ]


def check_media(scan: Scan, media: Mapping[str, MediaHeader]) -> list[Fault]:
    """Faults of rows against the headers of their files: streams that the column promises, and ends beyond the file's."""
    faults = []
    for index, row in enumerate(scan.table.select([*MEDIA_COLUMNS, "start_s", "end_s"]).to_pylist()):
        headers = {name: media[row[name]] for name in MEDIA_COLUMNS if row[name] in media}
        if "audio_path" in headers and not headers["audio_path"].has_audio:
            faults.append(scan.fault(index, "audio_path", f"{row['audio_path']!r} holds no sound", "a file with sound"))
        if "video_path" in headers and not headers["video_path"].has_video:
            faults.append(scan.fault(index, "video_path", f"{row['video_path']!r} holds no pictures", "a file with pictures"))
        if headers:
            duration_s = max(header.duration_s for header in headers.values())
            allowed = f"at most {duration_s:.3f}, the file's duration"
            if row["end_s"] is not None and row["end_s"] > duration_s + DURATION_TOLERANCE_S:
                faults.append(scan.fault(index, "end_s", f"{row['end_s']} lies beyond the end", allowed))
            elif row["start_s"] is not None and row["start_s"] >= duration_s:
                faults.append(scan.fault(index, "start_s", f"{row['start_s']} lies beyond the end", allowed))
    return faults


def _check_each(scan: Scan, column: str, find_fault: Callable[[Any], tuple[str, str] | None]) -> list[Fault]:
    """Judge each known value of a column; values repeat, so each is judged once."""
    verdicts: dict[Any, tuple[str, str] | None] = {None: None}
    faults = []
    for index, value in enumerate(scan.table[column].to_pylist()):
        if value not in verdicts:
            verdicts[value] = find_fault(value)
        verdict = verdicts[value]
        if verdict is not None:
            faults.append(scan.fault(index, column, *verdict))
    return faults


def _check_ids(scan: Scan) -> list[Fault]:
    faults, rows_of = [], defaultdict(list)
    for index, clip_id in enumerate(scan.clip_ids):
        if clip_id is None:
            faults.append(scan.fault(index, "clip_id", "is empty", "one id per row"))
            continue
        rows_of[clip_id].append(index)
        if _CONTROL.search(clip_id):
            faults.append(scan.fault(index, "clip_id", "holds a control character", "letters, digits, signs and inner blanks"))
        elif clip_id != clip_id.strip():
            faults.append(scan.fault(index, "clip_id", "begins or ends with a blank", "letters, digits, signs and inner blanks"))
    for rows in rows_of.values():
        for index in rows if len(rows) > 1 else ():
            other = next(row for row in rows if row != index)
            faults.append(scan.fault(index, "clip_id", f"is also the id of row {scan.row_numbers[other]}", "ids that differ"))
    return faults


def _check_sources(scan: Scan, root: str) -> list[Fault]:
    faults = []
    for index, row in enumerate(scan.table.select([*PATH_COLUMNS, "text"]).to_pylist()):
        if scan.needs_sources and all(value is None for value in row.values()):
            faults.append(scan.fault(index, "path", "the row has neither a file nor text", "a path, or text for a clip without media"))
        for name in PATH_COLUMNS:
            outside = None if row[name] is None else why_outside(row[name], root)
            if outside:
                faults.append(
                    scan.fault(index, name, f"{row[name]!r} {outside}", f"paths below {root}; set corpus.root to a folder above all files")
                )
    return faults


def _split_fault(split: str) -> tuple[str, str] | None:
    if _SPLIT_NAME.fullmatch(split):
        return None
    return f"{split!r} cannot name a file", "letters, digits and _ - ., e.g. train, dev, test, unlabelled"


def class_fault(emotion: str, classes: tuple[str, ...]) -> tuple[str, str] | None:
    """What is wrong with a label and what is allowed; None where it is one of the classes."""
    if emotion in classes:
        return None
    close = difflib.get_close_matches(emotion.strip().lower(), classes, n=1)
    return f"unknown label {emotion!r}" + (f"; did you mean {close[0]!r}?" if close else ""), ", ".join(classes) or "no labels"


def _check_values(scan: Scan, ranges: Mapping[str, tuple[float, float]]) -> list[Fault]:
    faults = []
    for name in VALUE_COLUMNS:
        low, high = ranges.get(name, (-math.inf, math.inf))
        allowed = f"{low:g} to {high:g}, or empty for unknown" if name in ranges else "finite numbers, or empty for unknown"

        def find_fault(value: float, low: float = low, high: float = high, allowed: str = allowed) -> tuple[str, str] | None:
            if not math.isfinite(value):
                return f"{value} is not finite", allowed
            return None if low <= value <= high else (f"{value:g} is out of range", allowed)

        faults += _check_each(scan, name, find_fault)
    return faults


def _check_segments(scan: Scan) -> list[Fault]:
    faults = []
    for index, row in enumerate(scan.table.select(["start_s", "end_s"]).to_pylist()):
        start_s, end_s = row["start_s"], row["end_s"]
        bad = [name for name, value in row.items() if value is not None and not math.isfinite(value)]
        if bad:
            faults.append(scan.fault(index, bad[0], f"{row[bad[0]]} is not finite", "seconds from the file's start"))
        elif start_s is not None and start_s < 0:
            faults.append(scan.fault(index, "start_s", f"{start_s} is negative", "seconds from the file's start"))
        elif end_s is not None and end_s <= (start_s or 0.0):
            faults.append(scan.fault(index, "end_s", f"{end_s} is not after the start {start_s or 0.0}", "seconds, start_s < end_s"))
    return faults


def _check_fold_speakers(scan: Scan) -> list[Fault]:
    rows = scan.table.select(["speaker_id", "fold"]).to_pylist()
    first_of: dict[str, dict[int, int]] = defaultdict(dict)
    for index, row in enumerate(rows):
        if row["speaker_id"] is not None and row["fold"] is not None:
            first_of[row["speaker_id"]].setdefault(row["fold"], index)
    faults = []
    for index, row in enumerate(rows):
        if row["fold"] is None or len(first_of.get(row["speaker_id"], ())) < 2:
            continue
        other = next(other for fold, other in first_of[row["speaker_id"]].items() if fold != row["fold"])
        what = (
            f"speaker {row['speaker_id']!r} is in fold {row['fold']} and, in row {scan.row_numbers[other]}, in fold {rows[other]['fold']}"
        )
        faults.append(scan.fault(index, "fold", what, "one fold for one speaker"))
    return faults
