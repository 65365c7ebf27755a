"""The `iemocap` corpus: dialogues of ten actors in five sessions, in English (Busso et al., 2008).

Session1/dialog/EmoEvaluation/Ses01F_impro01.txt              labels and times of the utterances
Session1/dialog/transcriptions/Ses01F_impro01.txt             words
Session1/dialog/avi/DivX/Ses01F_impro01.avi                   a whole dialogue, both actors side by side
Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav one utterance
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import VALUE_COLUMNS, ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan
from mer_ray.corpora.corpus_files import listing_faults, name_some, read_files, rows_to_table, split_lines
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.iemocap_labels import Utterance, read_evaluation, read_transcription
from mer_ray.corpora.listing import Listed, list_files
from mer_ray.corpora.paths import absolute_root
from mer_ray.corpora.published_counts import compare_counts

LICENCE = "release form of the University of Southern California, research only"
VALUE_RANGE = (1.0, 5.0)
SEXES = {"F": "female", "M": "male"}
# Label -> class; what a protocol does not name is no class of it. Happy and excited are one class of the usual four.
FOUR = {"ang": "angry", "hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral"}
SIX = {"ang": "angry", "hap": "happy", "sad": "sad", "neu": "neutral", "exc": "excited", "fru": "frustrated"}
ALL = {**SIX, "sur": "surprised", "fea": "fearful", "dis": "disgusted"}
PROTOCOLS: dict[int | str, dict[str, str]] = {4: FOUR, 6: SIX, "all": ALL}
# xxx: no agreement, oth: other. 10,039 together.
NUM_LABELS = {"ang": 1103, "hap": 595, "sad": 1084, "neu": 1708, "exc": 1041, "fru": 1849}
NUM_LABELS |= {"sur": 107, "fea": 40, "dis": 2, "oth": 3, "xxx": 2507}
ALLOWED_MEDIA = {"audio": "one .wav per utterance", "audio_visual": "one .avi per dialogue; or corpus.modality: audio"}
_FOLDER = r"(?:.*/)?Session([1-5])/"
_EVALUATION = re.compile(_FOLDER + r"dialog/EmoEvaluation/(Ses[^/]+)\.txt")
_TRANSCRIPTION = re.compile(_FOLDER + r"dialog/transcriptions/(Ses[^/]+)\.txt")
_DIALOGUE = re.compile(_FOLDER + r"dialog/avi/DivX/(Ses[^/]+)\.avi", re.IGNORECASE)
_SENTENCE = re.compile(_FOLDER + r"sentences/wav/[^/]+/(Ses[^/]+)\.wav", re.IGNORECASE)


class IemocapCorpusConfig(CorpusConfig):
    """The folder that holds `Session1/` to `Session5/` (at any depth), local or `s3://`.

    `modality`: `audio_visual` cuts sound and pictures out of the dialogues' videos by the times of the labels; `audio` takes the
    sentences' own sound files. Not both: times hold for all files of a clip. The videos show both actors side by side; which
    half is the speaker's is not in the labels. `classes`: 4 (happy holds excited), 6 (with excited and frustrated) or all;
    other labels, `xxx` and `oth` name no class. `session_folds`: the sessions are the column `fold`; false leaves it to `folds:`.
    """

    name: Literal["iemocap"] = "iemocap"
    path: Place = where_or_how_fast(min_length=1)
    modality: Literal["audio_visual", "audio"] = "audio_visual"
    classes: Literal[4, 6, "all"] = 4
    session_folds: bool = True

    def build(self) -> "IemocapCorpus":
        """The corpus; the folder is listed at the first use."""
        return IemocapCorpus(self)


class IemocapCorpus(Corpus):
    """Utterances by name, e.g. Ses01F_impro01_M003: the speaker is Ses01M, whoever wears the markers."""

    def __init__(self, config: IemocapCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)
        self.class_of = PROTOCOLS[config.classes]

    def facts(self) -> ManifestFacts:
        """Four, six or nine classes; values from 1 to 5."""
        return ManifestFacts(
            corpus="iemocap",
            classes=tuple(dict.fromkeys(self.class_of.values())),
            root=self.root,
            value_ranges=dict.fromkeys(VALUE_COLUMNS, VALUE_RANGE),
            licence=LICENCE,
        )

    def scan(self) -> Scan:
        """Join labels, words and media by name; a label without its medium is a fault."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        found = list_files(self.root)
        utterances, faults = self._read_labels(found)
        sentences, notes = self._read_texts(found)
        media = _paths_by_name(found, _SENTENCE if self.config.modality == "audio" else _DIALOGUE)
        rows, row_numbers = [], []
        for utterance in utterances:
            paths = media.get(self._name_of_medium(utterance), [])
            if len(paths) == 1:
                rows.append({**self._describe(utterance), **self._source(utterance, paths[0]), "text": sentences.get(utterance.name)})
                row_numbers.append(utterance.row)
            else:
                what = f"{' and '.join(paths)} are one" if paths else f"no {self._name_of_medium(utterance)}"
                faults.append(Fault(utterance.row, utterance.name, "path", what, ALLOWED_MEDIA[self.config.modality]))
        notes = [*_count_notes(utterances, self.class_of), *notes, *_forget_outside(rows), *_text_notes(rows)]
        unlabelled = set(media) - {self._name_of_medium(utterance) for utterance in utterances}
        if unlabelled:
            notes.append(f"{len(unlabelled)} media files have no label and are left out: {name_some(unlabelled)}")
        return Scan(rows_to_table(rows), row_numbers, faults, notes=notes)

    def _read_labels(self, found: Sequence[Listed]) -> tuple[list[Utterance], list[Fault]]:
        paths = [item.path for item in found if item.problem is None and _EVALUATION.fullmatch(item.path)]
        if not paths:
            raise ManifestError(
                f"{self.root}: no Session1/dialog/EmoEvaluation/Ses*.txt below it; `path` is the folder of IEMOCAP that holds Session1/ "
                "to Session5/"
            )
        utterances: list[Utterance] = []
        faults = listing_faults(found)
        for path, content in read_files(self.root, paths).items():
            read, wrong = read_evaluation(path, split_lines(path, content), first_row=len(utterances) + len(faults) + 1)
            utterances += read
            faults += wrong
        return utterances, faults

    def _read_texts(self, found: Sequence[Listed]) -> tuple[dict[str, str], list[str]]:
        """Words by utterance, and a note on those that stand in the files twice with other words."""
        paths = [item.path for item in found if item.problem is None and _TRANSCRIPTION.fullmatch(item.path)]
        sentences: dict[str, str] = {}
        twice: set[str] = set()
        for path, content in read_files(self.root, paths).items():
            for name, text in read_transcription(split_lines(path, content)):
                if sentences.setdefault(name, text) != text:
                    twice.add(name)
        return sentences, [f"{len(twice)} utterances are transcribed twice, the first words count: {name_some(twice)}"] if twice else []

    def _describe(self, utterance: Utterance) -> dict[str, Any]:
        return {
            "clip_id": utterance.name,
            "speaker_id": utterance.speaker,
            "sex": SEXES[utterance.speaker[-1]],
            "fold": utterance.session - 1 if self.config.session_folds else None,
            "language": "en",
            "emotion": self.class_of.get(utterance.label),
            "valence": utterance.valence,
            "arousal": utterance.activation,
            "dominance": utterance.dominance,
        }

    def _name_of_medium(self, utterance: Utterance) -> str:
        return utterance.name if self.config.modality == "audio" else utterance.dialogue

    def _source(self, utterance: Utterance, path: str) -> dict[str, Any]:
        if self.config.modality == "audio":
            return {"audio_path": path}
        return {"path": path, "start_s": utterance.start_s, "end_s": utterance.end_s}


def _paths_by_name(found: Iterable[Listed], pattern: re.Pattern[str]) -> dict[str, list[str]]:
    paths = defaultdict[str, list[str]](list)
    for item in found:
        match = pattern.fullmatch(item.path)
        if match is not None and item.problem is None:
            paths[match[2]].append(item.path)
    return paths


def _count_notes(utterances: Sequence[Utterance], class_of: Mapping[str, str]) -> list[str]:
    found = Counter(f"label {utterance.label}" for utterance in utterances)
    notes = compare_counts("iemocap", found, {f"label {label}": count for label, count in NUM_LABELS.items()})
    without = Counter(utterance.label for utterance in utterances if utterance.label not in class_of)
    if without:
        shown = ", ".join(f"{count} {label}" for label, count in sorted(without.items()))
        notes.append(f"{without.total()} utterances name no class of the chosen ones: {shown}")
    return notes


def _forget_outside(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Values that no rater could give become unknown, with a note."""
    low, high = VALUE_RANGE
    outside = []
    for row in rows:
        for name in VALUE_COLUMNS:
            if not low <= row[name] <= high:
                outside.append(f"{row['clip_id']} {name} {row[name]:g}")
                row[name] = None
    return [f"{len(outside)} values outside of {low:g} to {high:g} are unknown: {name_some(outside)}"] if outside else []


def _text_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lacking = [row["clip_id"] for row in rows if row["text"] is None]
    return [f"{len(lacking)} utterances have no words in transcriptions/: {name_some(lacking)}"] if lacking else []
