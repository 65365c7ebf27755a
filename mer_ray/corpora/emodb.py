"""The `emodb` corpus: the Berlin Database of Emotional Speech (Burkhardt et al., 2005), German, 10 speakers."""

import posixpath
import re
from functools import cached_property
from typing import Literal

from mer_ray.core.config import Place, where_or_how_fast
from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora._base import Corpus, CorpusConfig, Scan, manifest_table
from mer_ray.corpora.faults import Fault
from mer_ray.corpora.listing import list_files
from mer_ray.corpora.paths import absolute_root
from mer_ray.corpora.published_counts import compare_counts

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
# The speakers' page of the release.
SPEAKERS = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
NUM_CLIPS = 535
# The authors' later publication (audEERING, emodb 1.1.0) of the same files.
LICENCE = "CC0-1.0"
# Speaker, text code, emotion, version: 03a01Fa.wav
_FILE_NAME = re.compile(rf"({'|'.join(sorted(SPEAKERS))})([ab]\d\d)([{''.join(EMOTIONS)}])([a-z])\.(?i:wav)")
_ALLOWED = (
    f"names like 03a01Fa.wav: speaker ({', '.join(sorted(SPEAKERS))}), text (a01...), emotion ({', '.join(EMOTIONS)}), version (a...)"
)


class EmodbCorpusConfig(CorpusConfig):
    """The folder that holds `wav/`, or `wav` itself, local or `s3://`. All clips are labelled and have no split: use folds."""

    name: Literal["emodb"] = "emodb"
    path: Place = where_or_how_fast(min_length=1)

    def build(self) -> "EmodbCorpus":
        """The corpus; the folder is listed at the first use."""
        return EmodbCorpus(self)


class EmodbCorpus(Corpus):
    """Speaker and emotion come from the file names; the sentences carry no emotion, so `text` stays unknown."""

    def __init__(self, config: EmodbCorpusConfig) -> None:
        self.root = absolute_root(config.path)

    def facts(self) -> ManifestFacts:
        """Seven classes."""
        return ManifestFacts(corpus="emodb", classes=tuple(EMOTIONS.values()), root=self.root, licence=LICENCE)

    def scan(self) -> Scan:
        """List the folder; other names are faults."""
        return self._scan

    @cached_property
    def _scan(self) -> Scan:
        found = list_files(self.root)
        if any(item.path.startswith("wav/") for item in found):
            found = [item for item in found if item.path.startswith("wav/")]
        if not any(item.path.lower().endswith(".wav") or item.is_closed_folder for item in found):
            raise ManifestError(f"{self.root}: no .wav file; `path` is the folder of EmoDB that holds wav/, or wav itself")
        columns: dict[str, list[str]] = {name: [] for name in ("clip_id", "path", "speaker_id", "sex", "language", "emotion")}
        row_numbers, faults = [], []
        for number, item in enumerate(found, start=1):
            name = posixpath.basename(item.path)
            clip_id = posixpath.splitext(name)[0]
            match = _FILE_NAME.fullmatch(name)
            if item.problem is not None or match is None:
                named = None if item.is_closed_folder else clip_id
                faults.append(Fault(number, named, "path", f"{item.path!r} {item.problem or 'is no file of EmoDB'}", _ALLOWED))
                continue
            row_numbers.append(number)
            row = (clip_id, item.path, match[1], SPEAKERS[match[1]], "de", EMOTIONS[match[3]])
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        notes = compare_counts("EmoDB", {"wav/": len(row_numbers)}, {"wav/": NUM_CLIPS})
        return Scan(manifest_table(columns, len(row_numbers)), row_numbers, faults, notes=notes)
