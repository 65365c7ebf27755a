"""What is to be predicted: files, folders, rows of a manifest, or windows of these."""

import os
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.errors import ConfigError, ManifestError, MediaError
from mer_ray.core.manifest import MANIFEST_SCHEMA, MEDIA_COLUMNS, Manifest, ManifestFacts, read_manifest, resolve_path
from mer_ray.corpora.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mer_ray.corpora.listing import list_files
from mer_ray.corpora.paths import absolute_root, is_remote
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.probe import probe_media

# The folder of a store that holds features of files given by name.
FILES_CORPUS = "files"
NUM_PROBE_THREADS = 16
# Eleven days at a hop of one second.
MAX_WINDOWS = 1_000_000
# What a caller in Python may give of a clip beside its paths.
PATH_KEYS = (*MEDIA_COLUMNS, "faces_path")
SECONDS_KEYS = ("start_s", "end_s")
CLIP_KEYS = ("clip_id", *PATH_KEYS, *SECONDS_KEYS, "speaker_id", "text", "language")

Source = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class WantedClips:
    """The clips as a manifest; `source_ids` names the recording that each is a window of, the clip itself where there are no windows.

    `path` is the manifest that a user gave, None where files were given.
    """

    manifest: Manifest
    source_ids: list[str]
    is_windowed: bool = False
    path: Path | None = None

    @property
    def clip_ids(self) -> list[str]:
        """The ids, unique."""
        ids: list[str] = self.manifest.table["clip_id"].to_pylist()
        return ids

    @property
    def speaker_ids(self) -> list[str | None]:
        """Who speaks, None = unknown."""
        ids: list[str | None] = self.manifest.table["speaker_id"].to_pylist()
        return ids


def clips_of_files(sources: Sequence[Source], limits: MediaLimits) -> WantedClips:
    """Media files, folders (all media below them), `s3://` objects or prefixes, or mappings with the keys of `CLIP_KEYS`.

    A clip's id is its file's stem, or its path where two files share one; a mapping may give its own.

    Raises:
        ConfigError: an unknown key, a value of another type, a mapping without anything to read, or an id given twice.
        ManifestError: no such file or folder, a folder that cannot be listed whole, or nothing to predict.

    """
    rows = [row for source in sources for row in _rows_of(source)]
    if not rows:
        raise ManifestError(f"nothing to predict: no media file in {', '.join(map(str, sources)) or 'the list'}")
    counts = Counter(_name(row) for row in rows)
    for row in rows:
        if row["clip_id"] is None:
            row["clip_id"] = _name(row) if counts[_name(row)] == 1 else _media_path(row) or _name(row)
    doubled = next((clip_id for clip_id, count in Counter(row["clip_id"] for row in rows).items() if count > 1), None)
    if doubled is not None:
        raise ConfigError(f"{doubled}: is given twice; give each clip once, or a clip_id to each segment of a file")
    durations = _probe_durations(rows, limits)
    table = pa.Table.from_pylist(
        [dict.fromkeys(MANIFEST_SCHEMA.names) | row | {"duration_s": duration_s} for row, duration_s in zip(rows, durations, strict=True)],
        schema=MANIFEST_SCHEMA,
    )
    return WantedClips(Manifest(table, ManifestFacts(FILES_CORPUS, (), "/")), table["clip_id"].to_pylist())


def clips_of_manifest(path: Path, splits: Sequence[str] | None, names: Sequence[str] | None) -> WantedClips:
    """The clips of a manifest, of these splits and these names only where they are given.

    Raises:
        ManifestError: no manifest, no such split, or none of the names is in it.

    """
    manifest = read_manifest(path)
    table = manifest.table
    if splits is not None:
        known = sorted(set(table["split"].drop_null().to_pylist()))
        unknown = [split for split in splits if split not in known]
        if unknown:
            raise ManifestError(f"{path}: no clip is in split {unknown[0]!r}; it has {', '.join(known) or 'no splits'}")
        table = table.filter(pc.is_in(table["split"], pa.array(splits, pa.string())))
    if names is not None:
        table = table.filter(pc.is_in(table["clip_id"], pa.array(names, pa.string())))
    if not table.num_rows and names is not None:
        raise ManifestError(
            f"{path}: none of the {len(names)} candidates is a clip of it, e.g. {names[0]!r}; is it another corpus or split?"
        )
    if not table.num_rows:
        raise ManifestError(f"{path}: has no clips; make it again with `mer-ray manifest`")
    return WantedClips(replace(manifest, table=table), table["clip_id"].to_pylist(), path=path)


def cut_windows(wanted: WantedClips, window_s: float, hop_s: float) -> WantedClips:
    """Windows of `window_s` every `hop_s`; the last one ends with the recording, a recording shorter than a window is one window.

    A sentence belongs to its whole clip, so windows have none (our choice).

    Raises:
        ConfigError: so many windows that no machine could hold them.
        ManifestError: the duration of a recording is not known.

    """
    rows, source_ids = [], []
    total_s = sum(row["duration_s"] or 0.0 for row in wanted.manifest.table.to_pylist())
    if total_s / hop_s > MAX_WINDOWS:
        raise ConfigError(f"hop_s {hop_s:g}: cuts {total_s:g} s into more than {MAX_WINDOWS:,} windows; give a longer hop, or fewer files")
    for row in wanted.manifest.table.to_pylist():
        if row["duration_s"] is None:
            raise ManifestError(
                f"{row['clip_id']}: its duration cannot be read, so it cannot be cut into windows; leave it out, or mend it"
            )
        begin_s = row["start_s"] or 0.0
        for number, start_s in enumerate(window_starts(row["duration_s"], window_s, hop_s)):
            end_s = min(start_s + window_s, row["duration_s"])
            where = {"start_s": begin_s + start_s, "end_s": begin_s + end_s, "duration_s": end_s - start_s}
            rows.append(row | where | {"clip_id": f"{row['clip_id']}#{number:05d}", "text": None})
            source_ids.append(row["clip_id"])
    table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
    return replace(wanted, manifest=replace(wanted.manifest, table=table), source_ids=source_ids, is_windowed=True)


def window_starts(duration_s: float, window_s: float, hop_s: float) -> list[float]:
    """Where windows start: at 0, then every hop; one that would reach beyond the end starts earlier, so that all are of one length."""
    starts = [0.0]
    while starts[-1] + window_s < duration_s:
        next_s = len(starts) * hop_s
        # A start at or beyond the end (hop > window) has nothing in it.
        if next_s >= duration_s:
            break
        starts.append(min(next_s, duration_s - window_s))
    return starts


def _rows_of(source: Source) -> list[dict[str, Any]]:
    if isinstance(source, Mapping):
        return [_row_of_mapping(source)]
    path = str(source)
    if is_remote(path):
        is_file = posixpath.splitext(path)[1].lower() in (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES)
        return [_row(path)] if is_file else _rows_below(path)
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
        raise ManifestError(f"{path}: no such file or folder; correct its name")
    if os.path.isdir(path):
        return _rows_below(path)
    if not path.lower().endswith((*VIDEO_SUFFIXES, *AUDIO_SUFFIXES)):
        raise ManifestError(f"{path}: no media file that is read; allowed: {', '.join((*VIDEO_SUFFIXES, *AUDIO_SUFFIXES))}; convert it")
    return [_row(path)]


def _rows_below(folder: str) -> list[dict[str, Any]]:
    root = absolute_root(folder)
    listed = list_files(root)
    problem = next((item for item in listed if item.problem is not None), None)
    if problem is not None:
        raise ManifestError(f"{resolve_path(root, problem.path)}: {problem.problem}")
    found = [item.path for item in listed]
    return [_row(resolve_path(root, path)) for path in found if path.lower().endswith((*VIDEO_SUFFIXES, *AUDIO_SUFFIXES))]


def _row(path: str) -> dict[str, Any]:
    return dict.fromkeys(CLIP_KEYS) | {"path": path}


def _media_path(row: Mapping[str, Any]) -> str | None:
    return next((row[column] for column in MEDIA_COLUMNS if row[column] is not None), None)


def _name(row: Mapping[str, Any]) -> str:
    """The id that a caller gave, else the stem of the clip's file."""
    path = _media_path(row)
    stem = "text" if path is None else posixpath.splitext(posixpath.basename(path))[0]
    return stem if row["clip_id"] is None else str(row["clip_id"])


def _row_of_mapping(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [key for key in given if key not in CLIP_KEYS]
    if unknown:
        raise ConfigError(f"clip: unknown key {unknown[0]!r}. Allowed: {', '.join(CLIP_KEYS)}")
    row = dict.fromkeys(CLIP_KEYS) | dict(given)
    for key, value in row.items():
        allowed: tuple[type, ...] = (Real,) if key in SECONDS_KEYS else (str, Path) if key in PATH_KEYS else (str,)
        if value is not None and (isinstance(value, bool) or not isinstance(value, allowed)):
            raise ConfigError(f"clip: {key}: {value!r} is a {type(value).__name__}; give a {'number' if key in SECONDS_KEYS else 'string'}")
    if row["clip_id"] == "":
        raise ConfigError("clip: clip_id is empty; give it a name, or leave clip_id out")
    for column in PATH_KEYS:
        if row[column] is not None:
            path = str(row[column])
            row[column] = path if is_remote(path) else os.path.abspath(os.path.expanduser(path))
    if _media_path(row) is None and not row["text"]:
        raise ConfigError(f"clip {row['clip_id'] or 'without id'!r}: needs one of {', '.join(MEDIA_COLUMNS)} or text")
    return row


def _probe_durations(rows: Sequence[Mapping[str, Any]], limits: MediaLimits) -> list[float | None]:
    """Seconds of each clip; None where no header tells, which the extraction explains when it fails on the file."""

    def probe(row: Mapping[str, Any]) -> float | None:
        paths = [row[column] for column in MEDIA_COLUMNS if row[column] is not None]
        try:
            whole_s = max((probe_media(path, limits).duration_s for path in paths), default=None)
        except MediaError:
            return None
        end_s = row["end_s"] if row["end_s"] is not None else whole_s
        return None if end_s is None else max(0.0, end_s - (row["start_s"] or 0.0))

    with ThreadPoolExecutor(NUM_PROBE_THREADS) as pool:
        return list(pool.map(probe, rows))
