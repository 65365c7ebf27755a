"""What raters perceived in the clips of CREMA-D: counted votes of the release, or the soft labels of VAVL; and the actors' sex."""

import posixpath
from dataclasses import dataclass, field
from typing import Literal

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.cells import CellError, is_unknown
from mer_ray.corpora.crema_d_names import EMOTIONS, read_name
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.soft_labels import most_probable, read_soft_label
from mer_ray.corpora.table_source import RawTable, read_table

Rated = Literal["voice", "face", "audio_visual"]

CLASSES = tuple(EMOTIONS.values())
VOTES = ("A", "D", "F", "H", "N", "S")
# The column of row names holds the kind of stimulus and the clip's number: 100001 is the first clip, heard only.
ROW_NAME = ""
STIMULI: dict[Rated, int] = {"voice": 1, "face": 2, "audio_visual": 3}
CLIPS_PER_STIMULUS = 100_000
VAVL_SPLITS = {"train": "train", "development": "dev", "dev": "dev", "validation": "dev", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class PerceivedLabel:
    """Shares of the votes in the order of the classes; `emotion` None where two classes have most."""

    emotion: str | None
    shares: list[float]
    split: str | None = None


@dataclass(frozen=True)
class PerceivedLabels:
    """Labels by clip; `faults` of lines that cannot be read, which belong to the table and not to a listed clip."""

    labels: dict[str, PerceivedLabel] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def add_fault(self, line: int, clip_id: str | None, column: str, what: str, allowed: str, path: str) -> None:
        """Report a line of the table."""
        self.faults.append(Fault(None, clip_id, column, f"{posixpath.basename(path)} line {line}: {what}", allowed))


def read_votes(path: str, rated: Rated) -> PerceivedLabels:
    """Shares of the raters who chose each emotion when they heard, saw, or heard and saw the clip (`tabulatedVotes.csv`).

    Raises:
        ManifestError: no such table, or not that of the release.

    """
    raw = _read(path, (ROW_NAME, *VOTES, "fileName"))
    found = PerceivedLabels()
    _add_broken_lines(found, raw, path)
    for index, line in enumerate(raw.row_numbers):
        row_name, clip_id = raw.columns[ROW_NAME][index], raw.columns["fileName"][index]
        votes = [raw.columns[name][index] for name in VOTES]
        if not all(cell.isdecimal() for cell in (row_name, *votes)) or not any(map(int, votes)):
            what = f"row name {row_name!r}, votes {', '.join(votes)}"
            found.add_fault(line, clip_id, "emotion_probs", what, "whole numbers, and one vote at least", path)
        elif int(row_name) // CLIPS_PER_STIMULUS != STIMULI[rated]:
            continue
        else:
            _add(found, path, line, clip_id, [int(cell) / sum(map(int, votes)) for cell in votes], None)
    return found


def read_vavl(path: str) -> PerceivedLabels:
    """Soft labels and splits of VAVL: `FileName,angry,sad,disgust,fear,neutral,happy,SpkrID,Gender,Split_Set`.

    Raises:
        ManifestError: no such table, or without these columns.

    """
    raw = _read(path, ("FileName", *CLASSES, "Split_Set"))
    found = PerceivedLabels()
    _add_broken_lines(found, raw, path)
    for index, line in enumerate(raw.row_numbers):
        name, split = raw.columns["FileName"][index], str(raw.columns["Split_Set"][index])
        stem = posixpath.splitext(posixpath.basename(name))[0]
        cells = [raw.columns[emotion][index] for emotion in CLASSES]
        try:
            shares = read_soft_label(cells, len(CLASSES))
        except CellError as error:
            found.add_fault(line, stem, "emotion_probs", f"{', '.join(map(str, cells))} do not fit", str(error), path)
            continue
        if shares is None:
            found.add_fault(line, stem, "emotion_probs", "is empty", "six numbers that sum to 1", path)
        elif split.lower() not in VAVL_SPLITS:
            found.add_fault(line, stem, "split", f"unknown Split_Set {split!r}", "Train, Development, Test", path)
        else:
            _add(found, path, line, stem, shares, VAVL_SPLITS[split.lower()])
    return found


def read_sexes(path: str) -> dict[str, str]:
    """The sex that each actor identified with, by actor, in lower case (`VideoDemographics.csv`).

    Raises:
        ManifestError: no such table, or not that of the release.

    """
    raw = _read(path, ("ActorID", "Sex"))
    pairs = zip(raw.columns["ActorID"], raw.columns["Sex"], strict=True)
    return {actor.strip(): sex.strip().lower() for actor, sex in pairs if not is_unknown(sex)}


def _add(found: PerceivedLabels, path: str, line: int, stem: str, shares: list[float], split: str | None) -> None:
    name = read_name(stem)
    if name is None:
        found.add_fault(line, stem, "clip_id", f"{stem!r} is no clip of CREMA-D", "names like 1001_IEO_NEU_XX", path)
    elif name.clip_id in found.labels:
        found.add_fault(line, stem, "clip_id", "stands twice in the table", "one line for a clip", path)
    else:
        found.labels[name.clip_id] = PerceivedLabel(most_probable(shares, CLASSES), shares, split)


def _add_broken_lines(found: PerceivedLabels, raw: RawTable, path: str) -> None:
    for fault in raw.faults:
        assert isinstance(fault.row, int)
        found.add_fault(fault.row, None, "emotion_probs", fault.what, fault.allowed, path)


def _read(path: str, columns: tuple[str, ...]) -> RawTable:
    raw = read_table(path, None)
    missing = [name for name in columns if name not in raw.columns]
    if missing:
        has = ", ".join(repr(name) for name in raw.columns)
        raise ManifestError(f"{path}: lacks the columns {', '.join(map(repr, missing))}; it has {has}; take the table as released")
    return raw
