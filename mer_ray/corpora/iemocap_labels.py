"""Text files of IEMOCAP: lines of `EmoEvaluation`, and of `transcriptions`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mer_ray.corpora.faults import Fault

# Session, who wears the markers, scenario; then who speaks, and the utterance: Ses01F_impro01_M003, Ses02M_script03_2a_F001.
UTTERANCE = re.compile(r"Ses0([1-5])[FM]_\w+_([FM])\w{3}")
_TIME = r"\d+(?:\.\d+)?"
_VALUE = r"\d+(?:\.\d+)?"
_LABEL_LINE = re.compile(rf"\[({_TIME}) - ({_TIME})\]\s+(\S+)\s+([a-z]{{3}})\s+\[({_VALUE}), ({_VALUE}), ({_VALUE})\]\s*")
_WORDS_LINE = re.compile(rf"(Ses\w+) \[{_TIME}-{_TIME}\]:\s*(.*)")
LABELS = ("ang", "hap", "sad", "neu", "exc", "fru", "sur", "fea", "dis", "oth", "xxx")
_ALLOWED_LINE = "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"


@dataclass(frozen=True)
class Utterance:
    """One labelled segment of a dialogue; `row` is its place from 1 among all labels, times in seconds of the dialogue."""

    row: int
    name: str
    start_s: float
    end_s: float
    label: str
    valence: float
    activation: float
    dominance: float

    @property
    def dialogue(self) -> str:
        """The name of its dialogue."""
        return self.name.rpartition("_")[0]

    @property
    def session(self) -> int:
        """From 1 to 5."""
        return int(self.name[4])

    @property
    def speaker(self) -> str:
        """Session and sex of who speaks, which the last part of the name says; the first says who wears the markers."""
        return f"{self.name[:5]}{self.name.rpartition('_')[2][0]}"


def read_evaluation(path: str, lines: Iterable[str], first_row: int) -> tuple[list[Utterance], list[Fault]]:
    """The utterances of one dialogue, rows numbered from `first_row`.

    Label lines begin with `[`; the first line, which explains them, and lines of single raters begin otherwise.
    """
    utterances: list[Utterance] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        if not line.startswith("["):
            continue
        row = first_row + len(utterances) + len(faults)
        match = _LABEL_LINE.fullmatch(line)
        if match is None or UTTERANCE.fullmatch(match[3]) is None:
            faults.append(Fault(row, None, "emotion", f"{path}: line {number} is no label: {line[:80]!r}", f"lines like {_ALLOWED_LINE!r}"))
        elif match[4] not in LABELS:
            faults.append(Fault(row, match[3], "emotion", f"{path}: line {number}: unknown label {match[4]!r}", ", ".join(LABELS)))
        else:
            values = (float(match[5]), float(match[6]), float(match[7]))
            utterances.append(Utterance(row, match[3], float(match[1]), float(match[2]), match[4], *values))
    return utterances, faults


def read_transcription(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Name and words of each utterance; lines that name none, e.g. `M: ...` between them, are passed over."""
    matches = (_WORDS_LINE.fullmatch(line.strip()) for line in lines)
    return [(match[1], match[2]) for match in matches if match is not None]
