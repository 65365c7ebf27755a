"""What is wrong with a corpus: faults as data, all of them at once, and their table."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from mer_ray.core.artefacts import write_text
from mer_ray.core.errors import ManifestError

MAX_PRINTED_FAULTS = 50
# So many alike are listed row by row; more are one line.
MAX_ALIKE = 10
# Paths differ from row to row, what is wrong with them does not.
LEADING_VALUE = re.compile(r"""^(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") """)


@dataclass(frozen=True, order=True)
class MemberRow:
    """A row of one of several joined corpora: the member's place among them, the row as that member counts, and its name."""

    place: int
    number: int
    member: str

    def __str__(self) -> str:
        return f"{self.number} of {self.member}"


SourceRow = int | MemberRow


@dataclass(frozen=True)
class Fault:
    """One thing wrong: where (`row` as the source counts, None = the whole table), what it is and what is allowed."""

    row: SourceRow | None
    clip_id: str | None
    column: str | None
    what: str
    allowed: str

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        place += [f"clip {self.clip_id!r}"] if self.clip_id is not None else []
        place += [self.column] if self.column is not None else []
        return f"{', '.join(place) or 'corpus'}: {self.what}; allowed: {self.allowed}"


def in_source_order(faults: Iterable[Fault]) -> list[Fault]:
    """Faults of the whole table first, then by row."""
    return sorted(faults, key=lambda fault: _place(fault.row))


def _place(row: SourceRow | None) -> tuple[int, int]:
    if row is None:
        return (-1, 0)
    return (row.place, row.number) if isinstance(row, MemberRow) else (0, row)


def faults_error(where: str, faults: Sequence[Fault], advice: str) -> ManifestError:
    """One error that lists the faults, a line each or one for many that are alike, at most `MAX_PRINTED_FAULTS` lines."""
    lines = [f"{where}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}; {advice}"]
    groups = _grouped(faults)
    lines += [f"  {f'{len(alike)} rows, e.g. ' if len(alike) > 1 else ''}{alike[0]}" for alike in groups[:MAX_PRINTED_FAULTS]]
    num_left = sum(map(len, groups[MAX_PRINTED_FAULTS:]))
    if num_left:
        lines.append(f"  ... and {num_left} more")
    return ManifestError("\n".join(lines))


def _grouped(faults: Sequence[Fault]) -> list[list[Fault]]:
    """The faults in order: many of rows that are alike together, all others alone."""
    alike: dict[object, list[int]] = {}
    for number, fault in enumerate(faults):
        kind = number if fault.row is None else (fault.column, LEADING_VALUE.sub("", fault.what), fault.allowed)
        alike.setdefault(kind, []).append(number)
    groups = [group for found in alike.values() for group in ([found] if len(found) > MAX_ALIKE else [[number] for number in found])]
    return [[faults[number] for number in group] for group in sorted(groups)]


def write_faults(faults: Sequence[Fault], path: Path) -> None:
    """Write the faults as CSV (`row, clip_id, column, what, allowed`), whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([item.name for item in fields(Fault)])
    writer.writerows([getattr(fault, item.name) for item in fields(Fault)] for fault in faults)
    write_text(path, text.getvalue())
