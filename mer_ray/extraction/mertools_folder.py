"""One feature folder of MERTools -> one encoder of the store; a broken or missing file is a failure row.

Shapes: T frames, D feature dimension.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mer_ray.core.artefacts import versions
from mer_ray.core.config import digest_of
from mer_ray.core.errors import EncoderError, ManifestError
from mer_ray.core.manifest import Manifest
from mer_ray.core.media_types import Features, FloatArray, Modality
from mer_ray.core.progress import Bar
from mer_ray.corpora.mertools_features import FeatureFolder, Kind, read_feature
from mer_ray.extraction.inputs import ABSENT, stamp_files
from mer_ray.store.catalog import left_to_do
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import Store
from mer_ray.store.record import EncoderRecord, StoredType, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow, check_representable, write_failures, write_features

LAYERS: Mapping[Kind, str] = {"UTT": "utt", "FRA": "fra"}
# Raised when the same files give other rows.
IMPORT_VERSION = 1
STAGE = "import"
NO_FILE = "FileNotFoundError"
CLIPS_PER_PART = 4096
PART_BYTES = 64 * 2**20
FILES_AT_ONCE = 64
# Enough files to know the dimension of a folder although some are broken.
NUM_SAMPLED_FILES = 33
MAX_SHOWN_FAILURES = 100


@dataclass
class FolderSummary:
    """What became of one folder: `done` and `failed` of this run, `skipped` of runs before, `standing` all broken files.

    `absent` clips have no file; `zero` files hold only zeros. `failures` are the first (clip, reason).
    """

    record: EncoderRecord
    done: int = 0
    failed: int = 0
    absent: int = 0
    skipped: int = 0
    zero: int = 0
    standing: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def describe_folder(folder: FeatureFolder, modality: Modality, dtype: StoredType) -> EncoderRecord:
    """The folder as an encoder: its name is the encoder's, its layer is `utt` or `fra`.

    The identity says nothing of the files, so that a folder that grows stays one encoder; each row's input hash follows its file.

    Raises:
        ManifestError: no file of the folder can be read.

    """
    # Only these make the name of a store's folder, and it begins with a letter or digit.
    name = re.sub(r"[^A-Za-z0-9._+-]", "-", folder.name).lstrip("._+-")
    layer, dim = LAYERS[folder.kind], _find_dim(folder)
    facts = {"import": "mertools", "version": IMPORT_VERSION, "model": folder.model, "kind": folder.kind, "dim": dim}
    identity = digest_of({**facts, "name": name, "modality": modality, "dtype": dtype})
    return EncoderRecord(
        name=name,
        key=encoder_key(name, identity),
        identity=identity,
        config=facts,
        modality=modality,
        layers={layer: dim},
        sequences=(layer,) if folder.kind == "FRA" else (),
        dtype=dtype,
        versions=versions(),
    )


def import_folder(
    store: Store, manifest: Manifest, folder: FeatureFolder, record: EncoderRecord, num_threads: int, retry_failed: bool, bar: Bar
) -> FolderSummary:
    """Read the files that the store lacks, many at once, and write them part by part.

    Raises:
        StoreError: the store cannot be read or written.

    """
    corpus = manifest.facts.corpus
    wanted = _list_files(manifest, folder)
    left = left_to_do(store, corpus, record.key, wanted, retry_failed).to_pylist()
    summary = FolderSummary(record, skipped=wanted.num_rows - len(left))
    bar.advance(summary.skipped, record.name)
    with ThreadPoolExecutor(num_threads) as pool:
        batches = (left[start : start + FILES_AT_ONCE] for start in range(0, len(left), FILES_AT_ONCE))
        for part in _parts(_read_batches(pool, batches, folder, record, bar)):
            features = [row for row in part if isinstance(row, FeatureRow)]
            failures = [row for row in part if isinstance(row, FailureRow)]
            if features:
                write_features(store, corpus, record, features)
            if failures:
                write_failures(store, corpus, record.key, failures)
            _count(summary, features, failures)
    standing = read_failures(store, corpus, record.key, wanted.select(["clip_id", "input_hash"]))
    summary.standing = sum(error_type != NO_FILE for error_type in standing["error_type"].to_pylist())
    return summary


def _find_dim(folder: FeatureFolder) -> int:
    """D of most files, judged by some that are spread over the folder; files of another D become failures."""
    paths = sorted(path for path in folder.path.iterdir() if path.suffix == ".npy")
    chosen = paths[:: max(1, len(paths) // NUM_SAMPLED_FILES)]
    found = [_read(path, folder.kind) for path in chosen]
    dims = Counter(values.shape[-1] for values in found if not isinstance(values, str))
    if not dims:
        reasons = [f"{path.name} {values}" for path, values in zip(chosen, found, strict=True)]
        reason = reasons[0] if reasons else "there is no .npy file in it"
        raise ManifestError(f"{folder.path}: no file of it can be read: {reason}; mend the folder, or list others in `features`")
    return int(dims.most_common(1)[0][0])


def _list_files(manifest: Manifest, folder: FeatureFolder) -> pa.Table:
    """A row per clip: its file, the hash of the file's size and time, whether there is one."""
    clip_ids = manifest.table["clip_id"].to_pylist()
    paths = [str(folder.path / f"{clip_id}.npy") for clip_id in clip_ids]
    stamps = stamp_files(paths)
    return pa.table(
        {
            "clip_id": pa.array(clip_ids, pa.string()),
            "input_hash": [sha256(stamps[path].encode()).hexdigest()[:16] for path in paths],
            "path": paths,
            "is_there": [stamps[path] != ABSENT for path in paths],
            "duration_s": manifest.table["duration_s"],
        }
    )


def _read_batches(
    pool: ThreadPoolExecutor, batches: Iterable[Sequence[dict[str, Any]]], folder: FeatureFolder, record: EncoderRecord, bar: Bar
) -> Iterator[FeatureRow | FailureRow]:
    for batch in batches:
        # Batch after batch, because a pool reads ahead without end.
        yield from pool.map(lambda row: _read_row(row, folder, record), batch)
        bar.advance(len(batch), record.name)


def _read_row(row: Mapping[str, Any], folder: FeatureFolder, record: EncoderRecord) -> FeatureRow | FailureRow:
    clip_id, hash_, path = row["clip_id"], row["input_hash"], Path(row["path"])
    if not row["is_there"]:
        return FailureRow(clip_id, hash_, STAGE, NO_FILE, f"no file {folder.name}/{path.name}", datetime.now(UTC))
    values = _read(path, folder.kind)
    if isinstance(values, str):
        return FailureRow(clip_id, hash_, STAGE, ManifestError.__name__, f"{path}: {values}", datetime.now(UTC))
    duration_s = row["duration_s"]
    frames_TD = values.reshape(-1, values.shape[-1])
    # A file says nothing of time, and tokens of a sentence have none.
    has_time = duration_s is not None and record.modality != "text"
    features = _pool(frames_TD, folder.kind, duration_s / len(frames_TD) if has_time else math.nan)
    try:
        _check(features, record)
    except EncoderError as error:
        return FailureRow(clip_id, hash_, STAGE, EncoderError.__name__, f"{path}: {error}", datetime.now(UTC))
    return FeatureRow(clip_id, hash_, features)


def _read(path: Path, kind: Kind) -> FloatArray | str:
    """The array, or why there is none."""
    try:
        return read_feature(path, kind)
    except ManifestError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _pool(frames_TD: FloatArray, kind: Kind, frame_s: float) -> Features:
    """Mean, deviation and frames; a vector of a whole clip has the deviation 0."""
    layer = LAYERS[kind]
    mean_D = frames_TD.mean(axis=0, dtype=np.float64).astype(np.float32)
    std_D = frames_TD.std(axis=0, dtype=np.float64).astype(np.float32)
    sequences = {layer: frames_TD} if kind == "FRA" else {}
    return Features(len(frames_TD), frame_s, {layer: mean_D}, {layer: std_D}, sequences)


def _check(features: Features, record: EncoderRecord) -> None:
    for layer, dim in record.layers.items():
        if len(features.mean[layer]) != dim:
            raise EncoderError(f"has {len(features.mean[layer])} dimensions, most files of the folder {dim}")
    check_representable(features, record.dtype)


def _parts(rows: Iterable[FeatureRow | FailureRow]) -> Iterator[list[FeatureRow | FailureRow]]:
    """Rows by the part that they go to; memory holds one part only."""
    part: list[FeatureRow | FailureRow] = []
    num_bytes = 0
    for row in rows:
        part.append(row)
        if isinstance(row, FeatureRow):
            arrays = [*row.features.mean.values(), *row.features.std.values(), *row.features.sequences.values()]
            num_bytes += sum(values.nbytes for values in arrays)
        if num_bytes >= PART_BYTES or len(part) == CLIPS_PER_PART:
            yield part
            part, num_bytes = [], 0
    if part:
        yield part


def _count(summary: FolderSummary, features: Sequence[FeatureRow], failures: Sequence[FailureRow]) -> None:
    summary.done += len(features)
    summary.zero += sum(not any(mean_D.any() for mean_D in row.features.mean.values()) for row in features)
    broken = [row for row in failures if row.error_type != NO_FILE]
    summary.failed += len(broken)
    summary.absent += len(failures) - len(broken)
    summary.failures = (summary.failures + [(row.clip_id, row.message) for row in broken])[:MAX_SHOWN_FAILURES]
