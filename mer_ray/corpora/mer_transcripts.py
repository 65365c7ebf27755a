"""Transcripts of the MER challenges: `name,chinese,english`, or `name,sentence` where speech was recognised in Chinese."""

import posixpath
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.files import VIDEO_SUFFIXES
from mer_ray.corpora.table_source import read_table

TranscriptLanguage = Literal["chinese", "english"]
LANGUAGE_CODES: dict[TranscriptLanguage, str] = {"chinese": "zh", "english": "en"}
# The column of speech recognised in Chinese.
RECOGNISED = "sentence"


@dataclass(frozen=True)
class Transcripts:
    """Sentences by the names of the file, '' where nobody speaks; `file`: its name, '' where there is none."""

    sentences: dict[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    file: str = ""

    def of_clips(self, clip_ids: Collection[str]) -> tuple[dict[str, str], list[str]]:
        """Sentences by clip, and a note on names that are no clip's. A name may carry the suffix of its video."""
        found: dict[str, str] = {}
        unmatched = []
        for name, sentence in self.sentences.items():
            stem, suffix = posixpath.splitext(name)
            clip_id = stem if name not in clip_ids and suffix.lower() in VIDEO_SUFFIXES else name
            if clip_id in clip_ids:
                found.setdefault(clip_id, sentence)
            else:
                unmatched.append(name)
        some = f"{self.file}: {len(unmatched)} of {len(self.sentences)} names are no clips, e.g. {unmatched[0]!r}" if unmatched else ""
        return found, [some] if some else []


def read_transcripts(path: str, language: TranscriptLanguage) -> Transcripts:
    """The sentences in one language; a name with two different ones is a fault.

    Raises:
        ManifestError: no such file, no CSV, or without the columns of names and of this language.

    """
    file = posixpath.basename(path)
    raw = read_table(path, None)
    wanted = [language, *([RECOGNISED] if language == "chinese" else [])]
    column = next((name for name in wanted if name in raw.columns), None)
    if column is None or "name" not in raw.columns:
        needed = f"name and {' or '.join(wanted)}"
        raise ManifestError(f"{file}: has the columns {', '.join(raw.columns)}; needed: {needed}; choose `language`, or mend the file")
    faults = [Fault(None, None, "text", f"{file}: line {fault.row} {fault.what}", fault.allowed) for fault in raw.faults]
    sentences: dict[str, str] = {}
    for line, name, sentence in zip(raw.row_numbers, raw.columns["name"], raw.columns[column], strict=True):
        if sentences.setdefault(name, sentence) != sentence:
            faults.append(Fault(None, name, "text", f"{file}: line {line} has another sentence for this name", "one sentence for one name"))
    return Transcripts(sentences, tuple(faults), file)
