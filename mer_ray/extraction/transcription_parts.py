"""Transcripts as they are made: Parquet parts in a folder beside the manifest, each published whole or not at all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import open_store
from mer_ray.store.parts import name_part
from mer_ray.store.publishing import publish

PART_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("input_hash", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        ("text", pa.string()),
        ("language", pa.string()),
        ("confidence", pa.float32()),
        ("stage", pa.string()),
        ("error_type", pa.string()),
        ("message", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    """What became of one clip with one model (its identity): a text, a failure with its message, or neither for a clip without sound."""

    clip_id: str
    input_hash: str
    model: str
    text: str | None = None
    language: str | None = None
    confidence: float | None = None
    stage: str | None = None
    error_type: str | None = None
    message: str | None = None

    @property
    def is_failure(self) -> bool:
        """Whether the clip could not be decoded or transcribed."""
        return self.error_type is not None


def write_rows(folder: Path, rows: Sequence[TranscriptRow]) -> Path:
    """One part; the same clips with the same inputs and model give the same name, so that a shard done again replaces it.

    Raises:
        StoreError: the folder cannot be written.

    """
    path = folder / name_part(rows[0].model, [row.clip_id for row in rows], [row.input_hash for row in rows])
    now = datetime.now(UTC)
    table = pa.Table.from_pylist([{**asdict(row), "time": now} for row in rows], schema=PART_SCHEMA)
    with publish(open_store(folder), str(path)) as temporary:
        pq.write_table(table, temporary)
    return path


def read_rows(folder: Path, model: str) -> dict[tuple[str, str], TranscriptRow]:
    """All rows of one model by (clip_id, input_hash); a text beats a failure, of two failures the newer counts.

    Raises:
        StoreError: a part is damaged.

    """
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            found += pq.read_table(path, schema=PART_SCHEMA, filters=[("model", "=", model)]).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{path}: not a part that can be read ({error}); remove it, and its clips are transcribed again") from error
    # What stands last wins.
    found.sort(key=lambda row: (row["error_type"] is None, row["time"]))
    rows = [TranscriptRow(**{name: value for name, value in row.items() if name != "time"}) for row in found]
    return {(row.clip_id, row.input_hash): row for row in rows}
