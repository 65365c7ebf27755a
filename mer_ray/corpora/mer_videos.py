"""Folders of videos and the label files that name some of them, as all MER challenges release them, become a scan."""

import posixpath
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from mer_ray.core.errors import ManifestError
from mer_ray.corpora._base import Scan, manifest_table
from mer_ray.corpora.corpus_files import name_some
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.mer_folder import VideoFolder
from mer_ray.corpora.mer_labels import MerLabel, read_mer_labels, read_mer_names
from mer_ray.corpora.mer_releases import MerRelease
from mer_ray.corpora.mer_transcripts import LANGUAGE_CODES, TranscriptLanguage, Transcripts


@dataclass(frozen=True)
class VideoPart:
    """One folder of videos.

    `labels`: label file -> split of the clips that it names. `names`: file that only names clips -> their split; clips that
    a label file names stay where that puts them. `rest`: split of all other videos; None makes each a fault.
    """

    folder: VideoFolder
    labels: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    rest: str | None = None


class MerVideos:
    """Rows under running numbers from 1: label files in their order, then the videos that they do not name, by name.

    `splits`: those to take, None for all.
    """

    def __init__(self, root: str, splits: Collection[str] | None) -> None:
        self.root = root
        self.splits = splits
        self.columns: dict[str, list[Any]] = defaultdict(list)
        self.row_numbers: list[int] = []
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self._num_seen = 0

    @property
    def clip_ids(self) -> list[str]:
        """Of the rows so far."""
        return self.columns["clip_id"]

    def add_part(self, part: VideoPart) -> None:
        """Add all clips of a folder; what is no video is left out with a note.

        Raises:
            ManifestError: a label file cannot be read.

        """
        folder = part.folder
        labelled: set[str] = set()
        for file, split in part.labels.items():
            labelled |= self._add_named(folder, file, split, *read_mer_labels(f"{self.root}/{file}"), labelled_before=frozenset())
        seen = set(labelled)
        for file, split in part.names.items():
            seen |= self._add_named(folder, file, split, *read_mer_names(f"{self.root}/{file}"), labelled_before=labelled)
        for stem in folder.files:
            if stem in seen:
                continue
            if part.rest is None:
                files = " or ".join(part.labels)
                self._fault(stem, "emotion", f"no row of {files} names {folder.name}/{folder.files[stem][0]}", "a label for each video")
            else:
                self._add(folder, stem, part.rest, MerLabel(0, stem))
        if folder.others:
            self.notes.append(f"{folder.name}/: {len(folder.others)} entries are no videos and were left out: {name_some(folder.others)}")

    def add_transcripts(self, transcripts: Transcripts, language: TranscriptLanguage) -> None:
        """Fill `text` and `language` of the clips that the file names."""
        sentences, notes = transcripts.of_clips(set(self.clip_ids))
        self.columns["text"] = [sentences.get(clip_id) for clip_id in self.clip_ids]
        self.columns["language"] = [None if text is None else LANGUAGE_CODES[language] for text in self.columns["text"]]
        self.faults += transcripts.faults
        # The names of splits that are not taken are no surprise.
        self.notes += notes if self.splits is None else []

    def wants(self, *splits: str) -> bool:
        """Whether any of these splits is taken."""
        return self.splits is None or not set(splits).isdisjoint(self.splits)

    def table(self) -> pa.Table:
        """The rows so far."""
        return manifest_table(self.columns, len(self.row_numbers))

    def note_counts(self, release: MerRelease, published: Mapping[str, int] | None = None) -> None:
        """Compare with what was published (default: the release's labelled splits), as far as it was to be taken."""
        published = release.splits if published is None else published
        counts = {split: count for split, count in published.items() if self.wants(split)}
        self.notes += release.note_counts(self.table(), counts, with_classes=self.wants("train"))

    def scan(self) -> Scan:
        """All that was added.

        Raises:
            ManifestError: nothing was.

        """
        if not self.row_numbers and not self.faults:
            wanted = "clip" if self.splits is None else f"clip of {', '.join(sorted(self.splits))}"
            raise ManifestError(f"{self.root}: no {wanted} in it; choose other `splits`, or correct `path`")
        return Scan(self.table(), self.row_numbers, self.faults, notes=self.notes)

    def _add_named(
        self,
        folder: VideoFolder,
        file: str,
        split: str,
        rows: list[MerLabel],
        faults: list[Fault],
        labelled_before: Collection[str],
    ) -> set[str]:
        """Add the clips of one file, faults of its lines first; return the stems that it names."""
        for fault in faults:
            self._num_seen += 1
            self.faults.append(replace(fault, row=self._num_seen, what=f"{posixpath.basename(file)} line {fault.row}: {fault.what}"))
        seen = set()
        num_labelled = 0
        for row in rows:
            stem = folder.find_stem(row.name)
            if stem is None and not self.wants(split):
                continue
            if stem is None:
                what = f"{file} line {row.line} names it, but {folder.name}/ holds no such video"
                self._fault(row.name, "path", what, f"a file {folder.name}/<name>.mp4 or .avi, the whole name alike")
                continue
            seen.add(stem)
            if stem in labelled_before:
                num_labelled += 1
            else:
                self._add(folder, stem, split, row)
        if num_labelled:
            self.notes.append(f"{file}: {num_labelled} clips are in the split of their labels, not in {split}")
        # A clip whose line is faulty is named all the same.
        return seen | {stem for fault in faults if fault.clip_id and (stem := folder.find_stem(fault.clip_id))}

    def _add(self, folder: VideoFolder, stem: str, split: str, label: MerLabel) -> None:
        if not self.wants(split):
            return
        files = folder.files[stem]
        if len(files) > 1:
            self._fault(stem, "path", f"{folder.name}/ holds {' and '.join(files)}", "one file per name")
            return
        self._num_seen += 1
        self.row_numbers.append(self._num_seen)
        values = {
            "clip_id": stem,
            "path": f"{folder.name}/{files[0]}",
            "split": split,
            "emotion": label.emotion,
            "valence": label.valence,
        }
        for name, value in values.items():
            self.columns[name].append(value)

    def _fault(self, clip_id: str, column: str, what: str, allowed: str) -> None:
        self._num_seen += 1
        self.faults.append(Fault(self._num_seen, clip_id, column, what, allowed))
