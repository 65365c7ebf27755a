"""The manifest: one Parquet table, a row per clip, with the corpus's facts in the schema metadata."""

import json
import os
import posixpath
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from mer_ray.core.errors import ManifestError
from mer_ray.core.media_types import Clip

METADATA_KEY = b"mer_ray"
VALUE_COLUMNS = ("valence", "arousal", "dominance")
MEDIA_COLUMNS = ("path", "audio_path", "video_path")
PATH_COLUMNS = (*MEDIA_COLUMNS, "faces_path")
# A corpus's name is a folder of the store, on disk and S3: no separators, no hive partition sign, no hidden folder.
CORPUS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        ("path", pa.string()),
        ("audio_path", pa.string()),
        ("video_path", pa.string()),
        ("faces_path", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("num_bytes", pa.int64()),
        ("speaker_id", pa.string()),
        ("sex", pa.string()),
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int32()),
        ("text", pa.string()),
        ("language", pa.string()),
        ("emotion", pa.string()),
        ("emotion_probs", pa.list_(pa.float32())),
        ("valence", pa.float32()),
        ("arousal", pa.float32()),
        ("dominance", pa.float32()),
    ]
)


@dataclass(frozen=True)
class ManifestFacts:
    """What holds for the whole corpus: name, classes in order, value ranges, the root of relative paths, version, folds, licence.

    `corpus` names the folder in the store; the manifest's column `corpus` says where a clip of several joined corpora comes from.
    `label_maps`: by corpus, which of its classes became which class here, None = unknown. `corrections`: the sha256 of the files of
    corrected labels, in the order in which they were applied.
    """

    corpus: str
    classes: tuple[str, ...]
    root: str
    value_ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    version: str = "1"
    folds: str | None = None
    licence: str | None = None
    label_maps: dict[str, dict[str, str | None]] | None = None
    corrections: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Manifest:
    """A validated table of clips (columns of `MANIFEST_SCHEMA`) and the facts of its corpus."""

    table: pa.Table
    facts: ManifestFacts

    def clips(self) -> list[Clip]:
        """All rows as clips, with paths resolved against the root."""
        columns = ["clip_id", *PATH_COLUMNS, "start_s", "end_s", "duration_s", "num_bytes", "text", "language"]
        clips = []
        # Rows as dictionaries take ten times the room of clips: a million of them only some at a time.
        for batch in self.table.select(columns).to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                for column in PATH_COLUMNS:
                    if row[column] is not None:
                        row[column] = resolve_path(self.facts.root, row[column])
                clips.append(Clip(**row))
        return clips


def resolve_path(root: str, path: str) -> str:
    """Join a manifest path to its root, which is a folder or an `s3://` prefix; absolute paths stay."""
    if "://" in path or os.path.isabs(path):
        return path
    return posixpath.join(root, path) if "://" in root else os.path.join(root, path)


def write_manifest(manifest: Manifest, out: Path) -> None:
    """Write atomically: a reader sees the old file or the whole new one.

    Raises:
        ManifestError: the table lacks columns of the schema.

    """
    missing = [name for name in MANIFEST_SCHEMA.names if name not in manifest.table.column_names]
    if missing:
        raise ManifestError(f"{out}: the manifest lacks columns {', '.join(missing)}; build it with `mer-ray manifest`")
    schema = MANIFEST_SCHEMA.with_metadata({METADATA_KEY: json.dumps(asdict(manifest.facts)).encode()})
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    pq.write_table(manifest.table.select(MANIFEST_SCHEMA.names).cast(schema), temporary)
    os.replace(temporary, out)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest written by `write_manifest`.

    Raises:
        ManifestError: no such file, not Parquet, not a manifest of mer_ray, or one that is damaged.

    """
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest; make it with `mer-ray manifest CONFIG.yaml`")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ManifestError(f"{path}: not a Parquet file that can be read ({error}); make it with `mer-ray manifest`") from error
    metadata = table.schema.metadata or {}
    missing = [name for name in MANIFEST_SCHEMA.names if name not in table.column_names]
    if METADATA_KEY not in metadata or missing:
        lacks = f"lacks columns {', '.join(missing)}" if missing else "has no mer_ray metadata"
        raise ManifestError(
            f"{path}: not a manifest of mer_ray: it {lacks}; "
            f"read your table with `manifest: {{corpus: {{name: table, path: {path.name}}}}}`"
        )
    try:
        facts = TypeAdapter(ManifestFacts).validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise ManifestError(
            f"{path}: damaged mer_ray metadata: {place}{first['msg']}; make the file anew with `mer-ray manifest`"
        ) from error
    return Manifest(table.select(MANIFEST_SCHEMA.names).cast(MANIFEST_SCHEMA), facts)
