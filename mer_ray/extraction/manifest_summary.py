"""What `mer-ray manifest` says at its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mer_ray.core.manifest import MEDIA_COLUMNS, Manifest
from mer_ray.core.table import Table
from mer_ray.decoders.probe import MediaFacts


@dataclass(frozen=True)
class ManifestSummary:
    """What a manifest holds; counts are of the rows written, `num_faults` of what was found wrong with others."""

    out: str
    corpus: str
    num_clips: int
    hours: float
    num_audio: int
    num_video: int
    num_text: int
    num_speakers: int
    num_repeated: int
    classes: dict[str, int]
    corpora: dict[str, int]
    splits: dict[str, int]
    folds: dict[int, int]
    num_faults: int
    faults_out: str | None
    notes: tuple[str, ...]

    def tables(self) -> list[Table]:
        """What the command line prints."""
        notes = [f"{self.num_repeated} clips show the same media as another clip of their split"] if self.num_repeated else []
        notes += self.notes
        notes += [f"{self.num_faults} faults, their rows left out: {self.faults_out}"] if self.num_faults else []
        columns = ("clips", "hours", "with sound", "with pictures", "with text", "speakers")
        row = (self.num_clips, self.hours, self.num_audio, self.num_video, self.num_text, self.num_speakers)
        counts: list[tuple[str, Mapping[Any, int]]] = [
            ("class", self.classes),
            ("corpus", self.corpora),
            ("split", self.splits),
            ("fold", self.folds),
        ]
        return [
            Table(f"Manifest of {self.corpus}: {self.out}", columns, (row,), tuple(notes)),
            *[Table(f"Clips by {name}", (name, "clips"), tuple(count.items())) for name, count in counts if count],
        ]


def summarise_manifest(
    manifest: Manifest,
    out: str,
    media: Mapping[str, MediaFacts],
    num_repeated: int,
    num_faults: int,
    faults_out: str | None,
    notes: Sequence[str],
) -> ManifestSummary:
    """Count the rows of a manifest; `media`: path -> header, `notes`: of the scan."""
    table = manifest.table
    paths_of_rows = zip(*[table[name].to_pylist() for name in MEDIA_COLUMNS], strict=True)
    headers_of_rows = [[media[path] for path in paths if path in media] for paths in paths_of_rows]
    emotions = Counter(table["emotion"].drop_null().to_pylist())
    corpora = Counter(table["corpus"].drop_null().to_pylist())
    splits = Counter("(none)" if split is None else split for split in table["split"].to_pylist())
    folds = Counter(table["fold"].drop_null().to_pylist())
    return ManifestSummary(
        out=out,
        corpus=manifest.facts.corpus,
        num_clips=table.num_rows,
        hours=sum(table["duration_s"].drop_null().to_pylist()) / 3600,
        num_audio=sum(any(header.has_audio for header in headers) for headers in headers_of_rows),
        num_video=sum(any(header.has_video for header in headers) for headers in headers_of_rows),
        num_text=table.num_rows - table["text"].null_count,
        num_speakers=len(set(table["speaker_id"].drop_null().to_pylist())),
        num_repeated=num_repeated,
        classes={name: emotions[name] for name in manifest.facts.classes},
        corpora=dict(corpora),
        splits=dict(sorted(splits.items())),
        folds=dict(sorted(folds.items())),
        num_faults=num_faults,
        faults_out=faults_out,
        notes=tuple(notes),
    )
