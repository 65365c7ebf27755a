"""The `meld` corpus: utterances of the series Friends, in English (Poria et al., 2019).

train_sent_emo.csv  dev_sent_emo.csv  test_sent_emo.csv
train_splits/dia0_utt0.mp4  dev_splits_complete/...  output_repeated_splits_test/...
"""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts, resolve_path
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan
from mer_ray.corpora.corpus_files import listing_faults, name_some, nearest_to_root, rows_to_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.listing import Listed, list_files
from mer_ray.corpora.paths import absolute_root
from mer_ray.corpora.published_counts import compare_counts
from mer_ray.corpora.table_source import RawTable, read_table

# In the order of the paper's table of classes.
CLASSES = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
LICENCE = "GPL-3.0 (annotations); the clips are of the series Friends, research only"
VIDEO_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
# README and tables of the release.
NUM_UTTERANCES = {"train": 9989, "dev": 1109, "test": 2610}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
# The test archive holds 132 clips a second time under the longer name.
_FILE_NAME = re.compile(r"(final_videos_test)?dia([0-9]{1,6})_utt([0-9]{1,6})\.mp4", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,6}")
# Bytes 80 to 9F of Windows-1252 that were read as Latin-1 on the way; the five that stand for nothing stay.
_WINDOWS_SIGNS = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}


class MeldCorpusConfig(CorpusConfig):
    """The folder that holds the three tables and the unpacked archives (at any depth), local or `s3://`.

    `clip_id` is e.g. train_dia0_utt0, because every split counts from 0. A row without a video is a clip with text only;
    a split without any video is a fault unless `text_only` says that the sentences are wanted alone.
    `final_videos`: for 132 test clips there is a second file `final_videos_test<name>`; the authors advise to ignore
    those (github.com/declare-lab/MELD/issues/22), users found that they and not the first ones fit the sentences.
    """

    name: Literal["meld"] = "meld"
    path: Place = where_or_how_fast(min_length=1)
    final_videos: Literal["ignore", "prefer"] = "ignore"
    text_only: bool = False

    def build(self) -> "MeldCorpus":
        """The corpus; the folder is listed at the first use."""
        return MeldCorpus(self)


class MeldCorpus(Corpus):
    """Rows of the three tables with their videos; videos that no row names are left out with a note."""

    def __init__(self, config: MeldCorpusConfig) -> None:
        self.config = config
        self.root = absolute_root(config.path)

    def facts(self) -> ManifestFacts:
        """Seven classes."""
        return ManifestFacts(corpus="meld", classes=CLASSES, root=self.root, licence=LICENCE)

    def scan(self) -> Scan:
        """Join tables and videos by split, dialogue and utterance."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        found = list_files(self.root)
        plain, final = _find_videos(found)
        rows: list[dict[str, Any]] = []
        row_numbers: list[int] = []
        faults = listing_faults(found)
        num_seen = len(faults)
        for split in NUM_UTTERANCES:
            path, table = self._read_split(found, split)
            for fault in table.faults:
                num_seen += 1
                faults.append(Fault(num_seen, None, None, f"{path}: line {fault.row} {fault.what}", fault.allowed))
            for cells in _each_row(table):
                num_seen += 1
                row = _describe(split, cells)
                files = _choose(plain.get(row["clip_id"], []), final.get(row["clip_id"], []), self.config.final_videos)
                if len(files) > 1:
                    faults.append(Fault(num_seen, row["clip_id"], "path", f"{' and '.join(files)} are one clip", "one file per clip"))
                rows.append({**row, "path": files[0] if files else None})
                row_numbers.append(num_seen)
        if not self.config.text_only:
            faults += _refuse_silent_splits(rows)
        notes = [*_count_notes(rows), *_mend_texts(rows), *_file_notes(rows, {*plain, *final}, set(final), self.config.final_videos)]
        return Scan(rows_to_table(rows), row_numbers, faults, notes=notes)

    def _read_split(self, found: Sequence[Listed], split: str) -> tuple[str, RawTable]:
        name = f"{split}_sent_emo.csv"
        path = nearest_to_root(found, (name,))
        if path is None:
            folders = ", ".join(f"{folder}/" for folder in VIDEO_FOLDERS.values())
            raise ManifestError(
                f"{self.root}: no {name} below it; `path` is the folder of MELD that holds train_sent_emo.csv, dev_sent_emo.csv, "
                f"test_sent_emo.csv and the unpacked {folders}"
            )
        table = read_table(resolve_path(self.root, path), None)
        lacking = [column for column in COLUMNS if column not in table.columns]
        if lacking:
            raise ManifestError(f"{self.root}: {path} lacks the column {lacking[0]!r}; needed: {', '.join(COLUMNS)}")
        return path, table


def _find_videos(found: Iterable[Listed]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Paths by clip: those with the plain name, and those of the second cut."""
    split_of = {folder: split for split, folder in VIDEO_FOLDERS.items()}
    plain, final = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for item in found:
        match = _FILE_NAME.fullmatch(posixpath.basename(item.path))
        split = next((split_of[part] for part in reversed(item.path.split("/")) if part in split_of), None)
        if match is not None and split is not None and item.problem is None:
            (final if match[1] else plain)[_clip_id(split, match[2], match[3])].append(item.path)
    return plain, final


def _clip_id(split: str, dialogue: str, utterance: str) -> str:
    return f"{split}_dia{int(dialogue)}_utt{int(utterance)}"


def _choose(plain: Sequence[str], final: Sequence[str], final_videos: str) -> Sequence[str]:
    return (final or plain) if final_videos == "prefer" else plain


def _each_row(table: RawTable) -> Iterable[dict[str, str]]:
    for cells in zip(*[table.columns[name] for name in COLUMNS], strict=True):
        yield dict(zip(COLUMNS, cells, strict=True))


def _describe(split: str, cells: Mapping[str, str]) -> dict[str, Any]:
    dialogue, utterance = cells["Dialogue_ID"], cells["Utterance_ID"]
    is_numbered = _NUMBER.fullmatch(dialogue) and _NUMBER.fullmatch(utterance)
    return {
        # Without numbers there is no name, which the manifest's checks report.
        "clip_id": _clip_id(split, dialogue, utterance) if is_numbered else None,
        "speaker_id": cells["Speaker"].strip() or None,
        "split": split,
        "text": cells["Utterance"],
        "language": "en",
        "emotion": cells["Emotion"].strip() or None,
    }


def _mend_texts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Give back the Windows-1252 signs of sentences and speakers that some copies hold as control characters, with a note."""
    num_mended = 0
    for row in rows:
        for name in ("text", "speaker_id"):
            mended = row[name] and row[name].translate(_WINDOWS_SIGNS)
            num_mended += mended != row[name]
            row[name] = mended
    return [f"{num_mended} sentences or speakers held Windows-1252 signs as control characters, which were mended"] if num_mended else []


def _refuse_silent_splits(rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """A fault of the whole corpus for each split without any video: most likely its archive is not unpacked there."""
    heard = {row["split"] for row in rows if row["path"] is not None}
    return [
        Fault(
            None,
            None,
            "path",
            f"none of the {split} utterances has a video",
            f"the archive unpacked as {VIDEO_FOLDERS[split]}/, or corpus.text_only: true for the sentences alone",
        )
        for split in dict.fromkeys(row["split"] for row in rows)
        if split not in heard
    ]


def _count_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = Counter(row["split"] for row in rows)
    return compare_counts("meld", found, NUM_UTTERANCES)


def _file_notes(rows: Sequence[Mapping[str, Any]], in_files: set[str], final: set[str], final_videos: str) -> list[str]:
    notes = []
    silent = [row["clip_id"] for row in rows if row["path"] is None and row["clip_id"] is not None]
    if silent:
        notes.append(f"{len(silent)} rows have no video and are clips with text only: {name_some(silent)}")
    unnamed = in_files - {row["clip_id"] for row in rows}
    if unnamed:
        notes.append(f"{len(unnamed)} clips have a video but no row in the tables and are left out: {name_some(unnamed)}")
    if final:
        verb, other = ("are ignored", "prefer") if final_videos == "ignore" else ("are taken", "ignore")
        notes.append(f"{len(final)} second cuts final_videos_test* {verb}; for the others set corpus.final_videos: {other}")
    return notes
