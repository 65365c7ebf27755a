"""The `mertools` corpus: a folder that MERTools has processed (MER2023, MER2024), with labels, transcripts, media where present.

label-6way.npz                          train, test1, test2, test3: name -> emo, val
transcription-engchi-polish.csv         name,chinese,english
video/<name>.*  audio/<name>.wav  openface_face/<name>/<name>.npy
"""

import os
from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, CorpusName, Scan, choose_corpus_name, manifest_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.mer_releases import MER2023, MER2024, MerRelease
from mer_ray.corpora.mer_transcripts import LANGUAGE_CODES, TranscriptLanguage, Transcripts, read_transcripts
from mer_ray.corpora.mertools_labels import CLASSES, VALENCE_RANGE, Labels, read_labels
from mer_ray.corpora.paths import absolute_root, is_remote, name_of

LABEL_FILE = "label-6way.npz"
# The first one that is there is read: MER2023 and MERBench, MER2024, and what the first baseline's speech recogniser writes.
TRANSCRIPT_FILES = ("transcription-engchi-polish.csv", "transcription-merge.csv", "transcription.csv")


class MertoolsCorpusConfig(CorpusConfig):
    """The folder that holds `label-6way.npz`, on a local disk. `language`: of the transcripts. `corpus_name`: default the folder's name."""

    name: Literal["mertools"] = "mertools"
    path: Place = where_or_how_fast(min_length=1)
    corpus_name: CorpusName | None = None
    language: TranscriptLanguage = "chinese"

    @field_validator("path")
    @classmethod
    def _is_local(cls, path: str) -> str:
        if is_remote(path):
            raise ValueError(f"a local folder is needed, not the URL {path!r}; copy the folder to a disk")
        return path

    def build(self) -> "MertoolsCorpus":
        """The corpus; its files are read at the first use."""
        return MertoolsCorpus(self)


class MertoolsCorpus(Corpus):
    """Clips as MERTools names them; those without media or transcript have features only."""

    def __init__(self, config: MertoolsCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)

    def facts(self) -> ManifestFacts:
        """Six classes, valence from -5 to 5; the licence of the year that the splits tell."""
        corpus = choose_corpus_name(self.config.corpus_name, name_of(self.root))
        licence = None if self._release is None else self._release.licence
        return ManifestFacts(corpus, CLASSES, self.root, {"valence": VALENCE_RANGE}, licence=licence)

    @property
    def unlabelled_splits(self) -> tuple[str, ...]:
        """Splits whose labels are placeholders."""
        return self._labels.unlabelled_splits

    def scan(self) -> Scan:
        """Join labels, transcripts and media by name; a name in two media files is a fault."""
        return self._scan

    @cached_property
    def _labels(self) -> Labels:
        path = Path(self.root, LABEL_FILE)
        if not os.path.isdir(self.root):
            raise ManifestError(f"{self.root}: no such folder; correct `path`")
        if not path.is_file():
            raise ManifestError(
                f"{self.root}: no {LABEL_FILE} in it; give the folder that MERTools made (mer2023-dataset-process), which holds "
                f"{LABEL_FILE}, features/<model>-UTT or -FRA, and may hold {TRANSCRIPT_FILES[0]}, video/, audio/, openface_face/"
            )
        return read_labels(path)

    @cached_property
    def _scan(self) -> Scan:
        labels = self._labels
        transcripts = self._read_transcripts()
        texts, faults = transcripts.sentences, [*labels.faults, *transcripts.faults]
        videos, audios = (_files_by_stem(Path(self.root, folder)) for folder in ("video", "audio"))
        columns: dict[str, list[Any]] = defaultdict(list)
        for label in labels.labels:
            for folder, files in (("video", videos), ("audio", audios)):
                if len(files.get(label.name, ())) > 1:
                    what = f"{folder}/ holds {' and '.join(files[label.name])}"
                    faults.append(Fault(label.row, label.name, "path", what, "one file per name"))
            faces = f"openface_face/{label.name}/{label.name}.npy"
            text = texts.get(label.name)
            columns["clip_id"].append(label.name)
            columns["path"].append(next((f"video/{name}" for name in videos.get(label.name, ())), None))
            columns["audio_path"].append(next((f"audio/{name}" for name in audios.get(label.name, ())), None))
            columns["faces_path"].append(faces if Path(self.root, faces).is_file() else None)
            columns["split"].append(label.split)
            columns["text"].append(text)
            columns["language"].append(None if text is None else LANGUAGE_CODES[self.config.language])
            columns["emotion"].append(label.emotion)
            columns["valence"].append(label.valence)
        numbers = [label.row for label in labels.labels]
        table = manifest_table(columns, len(numbers))
        notes = [] if self._release is None else self._release.note_counts(table, self._release.splits)
        return Scan(table, numbers, faults, needs_sources=False, notes=notes)

    @cached_property
    def _release(self) -> MerRelease | None:
        return _release_of({label.split for label in self._labels.labels})

    def _read_transcripts(self) -> Transcripts:
        path = next((name for name in TRANSCRIPT_FILES if Path(self.root, name).is_file()), None)
        return Transcripts() if path is None else read_transcripts(str(Path(self.root, path)), self.config.language)


def _release_of(splits: Collection[str]) -> MerRelease | None:
    """The year that the splits tell: MERTools writes four for MER2023, train and test1 for MER2024."""
    releases = {frozenset(MER2023.splits): MER2023, frozenset({"train", "test1"}): MER2024}
    return releases.get(frozenset(splits))


def _files_by_stem(folder: Path) -> dict[str, list[str]]:
    """File names by their stem; none where there is no such folder."""
    found: dict[str, list[str]] = defaultdict(list)
    if folder.is_dir():
        for name in sorted(os.listdir(folder)):
            if not name.startswith("."):
                found[Path(name).stem].append(name)
    return found
