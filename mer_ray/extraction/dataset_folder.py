"""A layer's features as a folder that Hugging Face `datasets` loads: Parquet shards by split, and a card that describes them.

Float32 in plain lists: `datasets` and pandas read those, float16 in Parquet not all of their versions do.
Shapes: N clips, T frames of all of them, D feature dimension.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.config import dump_plain
from mer_ray.core.errors import ConfigError
from mer_ray.core.manifest import VALUE_COLUMNS
from mer_ray.core.progress import Bar
from mer_ray.extraction.layer_source import ClipFeatures, LayerSource

# What the hub shows and streams well; a row group is what a reader must hold.
SHARD_BYTES = 400 * 2**20
ROW_GROUP_BYTES = 32 * 2**20
# How `datasets` names the only split of a dataset without splits.
NO_SPLIT = "train"
LABEL_COLUMNS = ("speaker_id", "fold", "duration_s", "emotion", "emotion_probs", *VALUE_COLUMNS)


def write_dataset(source: LayerSource, folder: Path, bar: Bar) -> None:
    """Write `data/<split>-00000-of-00001.parquet` of all clips that have features, and `README.md`.

    Raises:
        ConfigError: two splits whose names `datasets` could not tell apart.

    """
    schema = _schema(source)
    clips = set(source.clip_ids)
    rows = [row for row in source.manifest.table.select(["clip_id", "split", *LABEL_COLUMNS]).to_pylist() if row["clip_id"] in clips]
    names = _split_names([row["split"] for row in rows])
    (folder / "data").mkdir()
    for split, name in names.items():
        shards = _cut([row for row in rows if row["split"] == split], source, SHARD_BYTES)
        for number, shard in enumerate(shards):
            path = folder / "data" / f"{name}-{number:05d}-of-{len(shards):05d}.parquet"
            with pq.ParquetWriter(path, schema) as writer:
                for group in _cut(shard, source, ROW_GROUP_BYTES):
                    features = list(source.read([row["clip_id"] for row in group]))
                    writer.write_table(_table(group, features, source, schema))
                    bar.advance(len(group), name)
    (folder / "README.md").write_text(_card(source, schema, list(names.values())), encoding="utf-8")


def _schema(source: LayerSource) -> pa.Schema:
    vector = pa.list_(pa.float32())
    frames = [("frames", pa.list_(vector))] if source.has_frames else []
    labels = [source.manifest.table.schema.field(name) for name in LABEL_COLUMNS]
    return pa.schema(
        [("clip_id", pa.string()), *labels, ("label", pa.int64()), ("num_frames", pa.int32()), ("mean", vector), ("std", vector), *frames]
    )


def _split_names(splits: Sequence[str | None]) -> dict[str | None, str]:
    """The split's name in file names, which must be a word."""
    names = {split: NO_SPLIT if split is None else re.sub(r"\W", "_", split) for split in splits}
    twice = [split for split, name in names.items() if list(names.values()).count(name) > 1]
    if twice:
        raise ConfigError(
            f"features: the splits {' and '.join(map(repr, twice))} would both be named {names[twice[0]]!r}; rename one in the manifest"
        )
    return names


def _cut(rows: Sequence[dict[str, Any]], source: LayerSource, max_bytes: int) -> list[list[dict[str, Any]]]:
    """Rows in their order, at most `max_bytes` of features together."""
    parts: list[list[dict[str, Any]]] = []
    size = 0
    for row in rows:
        num_bytes = source.num_bytes(row["clip_id"])
        if not parts or size + num_bytes > max_bytes:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += num_bytes
    return parts


def _table(rows: Sequence[dict[str, Any]], features: Sequence[ClipFeatures], source: LayerSource, schema: pa.Schema) -> pa.Table:
    classes = source.manifest.facts.classes
    numbers = {name: number for number, name in enumerate(classes)}
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("clip_id", *LABEL_COLUMNS)}
    columns["label"] = [numbers.get(row["emotion"]) for row in rows]
    columns["num_frames"] = [item.num_frames for item in features]
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    arrays["mean"] = _lists(np.stack([item.mean_D for item in features]))
    arrays["std"] = _lists(np.stack([item.std_D for item in features]))
    if source.has_frames:
        frames = [item.frames_TD for item in features if item.frames_TD is not None]
        ends = np.cumsum([0, *(len(frames_TD) for frames_TD in frames)], dtype=np.int32)
        arrays["frames"] = pa.ListArray.from_arrays(pa.array(ends), _lists(np.concatenate(frames)))
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _lists(values_ND: np.typing.NDArray[np.float32]) -> pa.ListArray:
    num_rows, dim = values_ND.shape
    offsets = np.arange(0, (num_rows + 1) * dim, dim, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values_ND.reshape(-1)))


def _card(source: LayerSource, schema: pa.Schema, splits: Sequence[str]) -> str:
    facts, record = source.manifest.facts, source.record
    classes = {str(number): name for number, name in enumerate(facts.classes)}
    features = [_feature(field, classes) for field in schema]
    header = {
        "configs": [{"config_name": "default", "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in splits]}],
        "dataset_info": {"features": features},
        "tags": ["emotion-recognition", record.modality],
    }
    left_out = [f"{count} clips are not in it: {reason}." for reason, count in source.left_out.items()]
    return "\n".join(
        [
            f"---\n{dump_plain(header)}---",
            f"# {facts.corpus}: {record.name}, layer {source.layer}",
            "",
            f"Features of {len(source.clip_ids)} clips, written by mer-ray from the encoder `{record.key}` ({record.modality}, "
            f"D = {source.dim}). `mean` and `std` are over a clip's frames"
            + (", `frames` are the frames themselves" if source.has_frames else "")
            + f". They were stored as {record.dtype} and are float32 here. `label` numbers the classes in order; null is unknown.",
            "",
            '```python\nfrom datasets import load_dataset\nload_dataset("path/to/this/folder")\n```',
            "",
            f"Licence of the encoder: {record.licence or 'unknown'}. Features and labels are derived from the corpus: its licence says "
            "whether and to whom they may be passed on.",
            *left_out,
            "",
        ]
    )


def _feature(field: pa.Field, classes: dict[str, str]) -> dict[str, Any]:
    """A column as the card of a dataset describes it."""
    if field.name == "label" and classes:
        return {"name": "label", "dtype": {"class_label": {"names": classes}}}
    if pa.types.is_list(field.type):
        inner = field.type.value_type
        return {"name": field.name, "sequence": {"sequence": "float32"} if pa.types.is_list(inner) else "float32"}
    names = {"double": "float64", "float": "float32"}
    return {"name": field.name, "dtype": names.get(str(field.type), str(field.type))}
