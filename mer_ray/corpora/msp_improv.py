"""The `msp_improv` corpus: dyadic improvisations in English, 12 actors in six sessions (Busso et al., 2017).

Evaluation.txt                                            labels of all turns, and of single raters
session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav            sound
session1/S01A/P/UTD-IMPROV-S01A-F01-P-FM01.avi            video
All_human_transcriptions/**/MSP-IMPROV-S01A-F01-P-FM01.txt    words, where the copy has them
"""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import VALUE_COLUMNS, ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan
from mer_ray.corpora.corpus_files import listing_faults, name_some, nearest_to_root, read_files, rows_to_table, split_lines
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mer_ray.corpora.listing import Listed, list_files
from mer_ray.corpora.msp_improv_labels import LETTERS, NAME, NO_AGREEMENT, OTHER, Label, read_evaluation, read_vavl_table
from mer_ray.corpora.paths import absolute_root
from mer_ray.corpora.published_counts import compare_counts

# The release writes Evalution.txt, some copies correct it.
EVALUATION_FILES = ("Evaluation.txt", "Evalution.txt")
TRANSCRIPT_FOLDER = "All_human_transcriptions"
LICENCE = "licence agreement with the University of Texas at Dallas, academic research only"
VALUE_RANGE = (1.0, 5.0)
NUM_SESSIONS = 6
SEXES = {"F": "female", "M": "male"}
Scenario = Literal["P", "R", "S", "T"]
# Busso et al., 2017, tables 3 and 4; 8,438 turns together.
NUM_TURNS: dict[Scenario, int] = {"P": 2785, "R": 620, "S": 4381, "T": 652}
NUM_OF_CLASSES = {"angry": 792, "sad": 885, "happy": 2644, "neutral": 3477}
_LAYOUT = f"the folder of MSP-IMPROV that holds {EVALUATION_FILES[0]} and session1/ ... session{NUM_SESSIONS}/"


class MspImprovCorpusConfig(CorpusConfig):
    """The folder that holds `Evaluation.txt` and `session1/` to `session6/` (at any depth), local or `s3://`.

    `scenarios`: S other improvised, P natural interaction, T target improvised, R target read. `keep_other`: make the letter O
    a fifth class `other`; without it O names no class, and X (no agreement) never does. `scale_values`: (y - 1) / 4, so that
    values lie in 0 to 1, not in 1 to 5. `session_folds`: the six sessions are the column `fold`; false leaves it to `folds:`.
    `labels_csv`: VAVL's table FileName,EmoAct,EmoVal,EmoDom,...,Split_Set: only its turns, with its values and splits.
    """

    name: Literal["msp_improv"] = "msp_improv"
    path: Place = where_or_how_fast(min_length=1)
    scenarios: tuple[Scenario, ...] = Field(("P", "R", "S", "T"), min_length=1)
    keep_other: bool = False
    scale_values: bool = False
    session_folds: bool = True
    labels_csv: Place | None = where_or_how_fast(None, min_length=1)

    @field_validator("scenarios")
    @classmethod
    def _scenarios_differ(cls, scenarios: tuple[Scenario, ...]) -> tuple[Scenario, ...]:
        if len(set(scenarios)) < len(scenarios):
            raise ValueError("a scenario is listed twice")
        return scenarios

    def places(self) -> tuple[str, ...]:
        """The folder, and the table of labels that lies elsewhere."""
        return (self.path,) if self.labels_csv is None else (self.path, self.labels_csv)

    def build(self) -> "MspImprovCorpus":
        """The corpus; the folder is listed at the first use."""
        return MspImprovCorpus(self)


class MspImprovCorpus(Corpus):
    """Turns with sound and video in two files; `clip_id` is what both names share, e.g. S01A-F01-P-FM01."""

    def __init__(self, config: MspImprovCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)
        self.classes = {**LETTERS, OTHER: "other"} if config.keep_other else LETTERS

    def facts(self) -> ManifestFacts:
        """Four classes, or five with `other`; values from 1 to 5, or scaled from 0 to 1."""
        limits = (0.0, 1.0) if self.config.scale_values else VALUE_RANGE
        return ManifestFacts(
            corpus="msp_improv",
            classes=tuple(self.classes.values()),
            root=self.root,
            value_ranges=dict.fromkeys(VALUE_COLUMNS, limits),
            licence=LICENCE,
        )

    def scan(self) -> Scan:
        """Join labels, files and words by the fields of the name; a label without any file is a fault."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        found = list_files(self.root)
        all_labels, faults = _number_after(listing_faults(found), *self._read_labels(found))
        labels = [label for label in all_labels if _scenario(label.key) in self.config.scenarios]
        sounds, videos, texts = self._find_files(found)
        rows, row_numbers = [], []
        for label in labels:
            files = {"audio_path": sounds.get(label.key, []), "video_path": videos.get(label.key, [])}
            fault = _files_fault(label, files)
            if fault is not None:
                faults.append(fault)
                continue
            rows.append({**self._describe(label), **{name: paths[0] for name, paths in files.items() if paths}})
            row_numbers.append(label.row)
        faults += self._add_texts(rows, row_numbers, texts)
        notes = [*self._count_notes(labels), *_file_notes(rows, {label.key for label in labels}, {*sounds, *videos})]
        return Scan(rows_to_table(rows), row_numbers, faults, notes=notes)

    def _read_labels(self, found: Sequence[Listed]) -> tuple[list[Label], list[Fault]]:
        """All turns that the labels name, and the lines that cannot be read, numbered together from 1."""
        path = nearest_to_root(found, EVALUATION_FILES)
        if path is None:
            raise ManifestError(f"{self.root}: no {' or '.join(EVALUATION_FILES)} below it; `path` is {_LAYOUT}")
        labels, faults = read_evaluation(path, split_lines(path, read_files(self.root, [path])[path]))
        if not labels and not faults:
            raise ManifestError(f"{self.root}: {path} holds no line that begins with UTD-IMPROV-; copy the file again")
        if self.config.labels_csv is not None:
            unread = faults
            labels, faults = read_vavl_table(self.config.labels_csv, {label.key: label.letter for label in labels})
            faults += [replace(fault, row=row) for row, fault in enumerate(unread, start=len(labels) + len(faults) + 1)]
        return labels, faults

    def _find_files(self, found: Iterable[Listed]) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
        """Paths by key: sound, video, words; of the chosen scenarios."""
        sounds, videos, texts = (defaultdict[str, list[str]](list) for _ in range(3))
        for item in found:
            stem, suffix = posixpath.splitext(posixpath.basename(item.path))
            match = NAME.fullmatch(stem)
            if item.problem is not None or match is None or _scenario(match[1]) not in self.config.scenarios:
                continue
            if suffix.lower() in AUDIO_SUFFIXES:
                sounds[match[1]].append(item.path)
            elif suffix.lower() in VIDEO_SUFFIXES:
                videos[match[1]].append(item.path)
            elif suffix.lower() == ".txt" and TRANSCRIPT_FOLDER in item.path.split("/")[:-1]:
                texts[match[1]].append(item.path)
        return sounds, videos, texts

    def _describe(self, label: Label) -> dict[str, Any]:
        speaker = label.key.split("-")[1]
        values = {name: getattr(label, name) for name in VALUE_COLUMNS}
        if self.config.scale_values:
            low, high = VALUE_RANGE
            values = {name: None if value is None else (value - low) / (high - low) for name, value in values.items()}
        return {
            "clip_id": label.key,
            "speaker_id": speaker,
            "sex": SEXES[speaker[0]],
            "fold": int(speaker[1:]) - 1 if self.config.session_folds else None,
            "split": label.split,
            "language": "en",
            "emotion": None if label.letter is None else self.classes.get(label.letter),
            **values,
        }

    def _add_texts(self, rows: Sequence[dict[str, Any]], row_numbers: Sequence[int], texts: Mapping[str, list[str]]) -> list[Fault]:
        contents = read_files(self.root, [path for row in rows for path in texts.get(row["clip_id"], [])[:1]])
        faults = []
        for row, number in zip(rows, row_numbers, strict=True):
            paths = texts.get(row["clip_id"], [])
            if len(paths) > 1:
                faults.append(Fault(number, row["clip_id"], "text", f"is transcribed in {' and '.join(paths)}", "one file per turn"))
            elif paths:
                row["text"] = " ".join(" ".join(split_lines(paths[0], contents[paths[0]])).split())
        return faults

    def _count_notes(self, labels: Sequence[Label]) -> list[str]:
        if self.config.labels_csv is not None:
            return []
        turns = Counter(f"scenario {_scenario(label.key)}" for label in labels)
        letters = Counter(label.letter for label in labels)
        notes = compare_counts("msp_improv", turns, {f"scenario {scenario}": NUM_TURNS[scenario] for scenario in self.config.scenarios})
        if set(self.config.scenarios) == set(NUM_TURNS):
            notes += compare_counts("msp_improv", {name: letters[letter] for letter, name in LETTERS.items()}, NUM_OF_CLASSES)
        without = {"no agreement": letters[NO_AGREEMENT], "other": 0 if self.config.keep_other else letters[OTHER]}
        if any(without.values()):
            shown = ", ".join(f"{count} {name}" for name, count in without.items() if count)
            notes.append(f"{sum(without.values())} turns name no class: {shown}")
        return notes


def _number_after(first: Sequence[Fault], labels: Sequence[Label], faults: Sequence[Fault]) -> tuple[list[Label], list[Fault]]:
    """The labels, and all faults, with the rows of the first ones before the others."""
    shifted = [replace(fault, row=fault.row + len(first)) for fault in faults if isinstance(fault.row, int)]
    return [replace(label, row=label.row + len(first)) for label in labels], [*first, *shifted]


def _scenario(key: str) -> str:
    return key.split("-")[2]


def _files_fault(label: Label, files: Mapping[str, list[str]]) -> Fault | None:
    for column, paths in files.items():
        if len(paths) > 1:
            return Fault(label.row, label.key, column, f"{' and '.join(paths)} are one turn", "one sound and one video per turn")
    if not any(files.values()):
        what = f"no file MSP-IMPROV-{label.key} or UTD-IMPROV-{label.key}"
        return Fault(label.row, label.key, "path", what, "a sound or a video for each label")
    return None


def _file_notes(rows: Sequence[Mapping[str, Any]], labelled: set[str], in_files: set[str]) -> list[str]:
    notes = []
    for column, what in (("video_path", "sound but no video"), ("audio_path", "video but no sound file")):
        lacking = [row["clip_id"] for row in rows if row.get(column) is None]
        if lacking:
            notes.append(f"{len(lacking)} turns have {what}: {name_some(lacking)}")
    unlabelled = in_files - labelled
    if unlabelled:
        notes.append(f"{len(unlabelled)} turns have files but no label and are left out: {name_some(unlabelled)}")
    return notes
