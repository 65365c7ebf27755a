"""Clips that show the same media: across splits they leak, with other labels they contradict each other."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mer_ray.core.manifest import MEDIA_COLUMNS
from mer_ray.corpora._base import Scan
from mer_ray.corpora.faults import Fault

# Segment borders of annotations are rounded to milliseconds; touching segments do not overlap.
MAX_OVERLAP_S = 0.001
_LABELS = ("emotion", "speaker_id")
_COLUMNS = [*MEDIA_COLUMNS, "start_s", "end_s", "split", "fold", *_LABELS]


def find_repeats(scan: Scan, contents: Mapping[str, int]) -> tuple[list[Fault], list[int]]:
    """Faults of clips that share media, and a number per row: rows that show the same segment of the same media share it.

    `contents`: path -> number of its content, for the files that can be read. Overlapping segments of one content in two splits
    or folds are faults, and where a speaker is unknown any segments of one content in two folds; the same segment twice in one
    split is a fault only where emotion or speaker differ.
    """
    rows = scan.table.select(_COLUMNS).to_pylist()
    rows_of = _rows_of_contents(rows, contents)
    faults = []
    shown: dict[tuple[int, float, float], int] = {}
    numbers = list(range(len(rows)))
    for content, indices in rows_of.items():
        if len(indices) < 2:
            continue
        faults += _split_leaks(scan, rows, indices) + _fold_leaks(scan, rows, indices) + _contradictions(scan, rows, indices)
        for index in indices:
            numbers[index] = min(numbers[index], shown.setdefault((content, *_segment(rows[index])), index))
    return list(dict.fromkeys(faults)), numbers


def number_media(scan: Scan, contents: Mapping[str, int]) -> list[int]:
    """A number per row, equal for rows that show segments of the same media, directly or through the media of further rows."""
    # Slow to load, and every command loads this module.
    from scipy.cluster.hierarchy import DisjointSet

    joined = DisjointSet(range(scan.table.num_rows))
    for indices in _rows_of_contents(scan.table.select(MEDIA_COLUMNS).to_pylist(), contents).values():
        for index in indices[1:]:
            joined.merge(indices[0], index)
    return [int(joined[index]) for index in range(scan.table.num_rows)]


def _rows_of_contents(rows: Sequence[Mapping[str, Any]], contents: Mapping[str, int]) -> dict[int, list[int]]:
    rows_of: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        for content in {contents[row[name]] for name in MEDIA_COLUMNS if row[name] in contents}:
            rows_of[content].append(index)
    return rows_of


def _split_leaks(scan: Scan, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> list[Fault]:
    return [
        scan.fault(
            index, "split", f"{_named(rows[index])} shows the same media as {_place(scan, other)} in {_named(rows[other])}", "one split"
        )
        for index, other in _overlaps(rows, indices, "split")
    ]


def _fold_leaks(scan: Scan, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> list[Fault]:
    """Clips without a fold are in none; where one speaker of the media is unknown, any two of its clips may be of one speaker."""
    folded = [index for index in indices if rows[index]["fold"] is not None]
    other_of = dict(_overlaps(rows, folded, "fold"))
    if any(rows[index]["speaker_id"] is None for index in folded):
        first_of = {rows[index]["fold"]: index for index in reversed(folded)}
        if len(first_of) > 1:
            for index in folded:
                other_of.setdefault(index, next(other for fold, other in first_of.items() if fold != rows[index]["fold"]))
    return [
        scan.fault(
            index,
            "fold",
            f"fold {rows[index]['fold']} shows the same media as {_place(scan, other)} in fold {rows[other]['fold']}",
            "one fold for one media where segments overlap or speakers are unknown",
        )
        for index, other in other_of.items()
    ]


def _overlaps(rows: Sequence[Mapping[str, Any]], indices: Sequence[int], column: str) -> list[tuple[int, int]]:
    """Walk through the segments by start; of each split or fold only the one that reaches furthest can still overlap."""
    pairs = []
    furthest: dict[str | int | None, int] = {}
    for index in sorted(indices, key=lambda index: _segment(rows[index])):
        start_s, end_s = _segment(rows[index])
        part = rows[index][column]
        pairs += [
            pair
            for other_part, other in furthest.items()
            if other_part != part and _segment(rows[other])[1] - start_s > MAX_OVERLAP_S
            for pair in ((index, other), (other, index))
        ]
        if part not in furthest or end_s > _segment(rows[furthest[part]])[1]:
            furthest[part] = index
    return pairs


def _contradictions(scan: Scan, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> list[Fault]:
    same = defaultdict(list)
    for index in indices:
        same[_segment(rows[index])].append(index)
    faults = []
    for group in same.values():
        for column in _LABELS:
            first_of: dict[str, int] = {}
            for index in group:
                if rows[index][column] is not None:
                    first_of.setdefault(rows[index][column], index)
            if len(first_of) > 1:
                known = [index for index in group if rows[index][column] is not None]
                others = {index: next(other for label, other in first_of.items() if label != rows[index][column]) for index in known}
                faults += [
                    scan.fault(
                        index,
                        column,
                        f"{rows[index][column]!r}, but {_place(scan, other)} shows the same media with {rows[other][column]!r}",
                        "one label for one media",
                    )
                    for index, other in others.items()
                ]
    return faults


def _segment(row: Mapping[str, Any]) -> tuple[float, float]:
    return (row["start_s"] or 0.0, math.inf if row["end_s"] is None else row["end_s"])


def _named(row: Mapping[str, Any]) -> str:
    return "no split" if row["split"] is None else f"split {row['split']!r}"


def _place(scan: Scan, index: int) -> str:
    return f"row {scan.row_numbers[index]} (clip {scan.clip_ids[index]!r})"
