"""Everything that can be wrong with a store, found without changing it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mer_ray.core.errors import StoreError
from mer_ray.core.table import Table
from mer_ray.store.catalog import list_names
from mer_ray.store.layout import DESCRIPTION_NAMES, PartKind, Store
from mer_ray.store.lease import LEASE_PREFIX, list_leases
from mer_ray.store.overview import list_corpora
from mer_ray.store.parts import PartGoneError, list_files, open_part
from mer_ray.store.publishing import TEMPORARY_SUFFIX
from mer_ray.store.record import EncoderRecord, find_record
from mer_ray.store.scanning import map_threads
from mer_ray.store.schemas import FAILURE_SCHEMA, ID_COLUMNS, STATISTICS, feature_schema

_KINDS: tuple[PartKind, ...] = ("features", "failures")


@dataclass
class _Count:
    num_parts: int = 0
    num_rows: int = 0
    num_clips: int = 0


@dataclass
class StoreReport:
    """`faults` must be mended, a line each with what to do; `notes` need not. Rows: corpus, encoder, kind, parts, rows, clips."""

    url: str
    is_deep: bool
    rows: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def table(self) -> Table:
        """What was looked at, as the command line shows it."""
        depth = "every value was read and its checksum verified" if self.is_deep else "ids were read; --deep reads every value"
        result = f"{len(self.faults)} faults" if self.faults else "no faults"
        columns = ("corpus", "encoder", "kind", "parts", "rows", "clips")
        return Table(f"Check of {self.url}", columns, tuple(self.rows), (*self.notes, f"{result}; {depth}"))


def check_store(store: Store, deep: bool = False) -> StoreReport:
    """Open every part of every encoder; `deep` reads all of it. Safe beside all other work.

    Raises:
        StoreError: no store, or a folder cannot be listed.

    """
    report = StoreReport(store.url, deep)
    for corpus in list_corpora(store):
        folder = store.corpus_folder(corpus)
        report.faults += [f"{store.locate(path)}: not a part of a store; move it elsewhere" for path in _foreign(store, folder, _KINDS)]
        for kind in _KINDS:
            keys = list_names(store, store.kind_folder(corpus, kind))
            foreign = _foreign(store, store.kind_folder(corpus, kind), keys)
            report.faults += [f"{store.locate(path)}: not a folder of an encoder; move it elsewhere" for path in foreign]
            for key in keys:
                _check_encoder(store, corpus, key, kind, report)
    return report


def _foreign(store: Store, folder: str, allowed: Sequence[str]) -> list[str]:
    names = {path: path.rstrip("/").rsplit("/", 1)[-1] for path in list_files(store, folder)}
    return [path for path, name in names.items() if name not in allowed and path.rstrip("/") != folder and not name.startswith(".")]


def _check_encoder(store: Store, corpus: str, key: str, kind: PartKind, report: StoreReport) -> None:
    try:
        folder = store.part_folder(corpus, key, kind)
        record = find_record(store, corpus, key)
    except StoreError as error:
        # Once, not for its failures too.
        if kind == "features":
            report.faults.append(str(error))
        return
    schema = FAILURE_SCHEMA if kind == "failures" else feature_schema(record) if record else None
    parts, num_leftovers = [], 0
    for path in list_files(store, folder):
        name = path.rsplit("/", 1)[-1]
        if name.endswith(TEMPORARY_SUFFIX):
            num_leftovers += 1
        elif name.startswith("part-") and name.endswith(".parquet"):
            parts.append(path)
        elif name and path != folder and name not in DESCRIPTION_NAMES and not name.startswith((LEASE_PREFIX, ".")):
            report.faults.append(f"{store.locate(path)}: not a file of a store; move it elsewhere")
    if schema is None and parts:
        record_path = store.locate(store.record_path(corpus, key))
        report.faults.append(f"{record_path}: is missing beside its parts; restore it, or remove the folder to extract anew")
    if num_leftovers:
        report.notes.append(
            f"{corpus} {key} {kind}: {num_leftovers} temporary files of writers; `mer-ray store compact` removes those of killed ones"
        )
    if kind == "features":
        for path, text, is_alive in list_leases(store, folder):
            state = f"at work: {text}" if is_alive else f"a lease left by {text}; the next run takes it over"
            report.notes.append(f"{store.locate(path)}: {state}")
    _check_parts(store, corpus, key, kind, parts, schema, record, report)


def _check_parts(
    store: Store,
    corpus: str,
    key: str,
    kind: PartKind,
    paths: list[str],
    schema: pa.Schema | None,
    record: EncoderRecord | None,
    report: StoreReport,
) -> None:
    def check(path: str) -> tuple[pa.Table | None, list[str]]:
        try:
            with open_part(store, path, key, kind) as part:
                ids = part.file.read(columns=list(ID_COLUMNS), use_threads=False)
                faults = list(_part_faults(part.file, ids, schema, record, kind, report.is_deep))
        except PartGoneError:
            # A compaction has merged it meanwhile.
            return None, []
        except StoreError as error:
            return None, [str(error)]
        return ids.select(["clip_id"]).replace_schema_metadata(None), [f"{store.locate(path)}: {fault}" for fault in faults]

    results = map_threads(store, check, paths)
    report.faults += [fault for _, faults in results for fault in faults]
    tables = [ids for ids, _ in results if ids is not None]
    clip_ids = pa.concat_tables(tables)["clip_id"] if tables else pa.chunked_array([], pa.string())
    num_clips = pc.count_distinct(clip_ids).as_py()
    report.rows.append((corpus, key, kind, len(paths), len(clip_ids), num_clips))
    if len(clip_ids) > num_clips:
        twice = f"{corpus} {key} {kind}: {len(clip_ids) - num_clips} rows of clips that have another row"
        report.notes.append(f"{twice}; read once all the same, `mer-ray store compact` removes them")


def _part_faults(
    file: pq.ParquetFile, ids: pa.Table, schema: pa.Schema | None, record: EncoderRecord | None, kind: PartKind, deep: bool
) -> Iterator[str]:
    anew = "remove the file, its clips are then extracted again"
    if schema is not None and not file.schema_arrow.equals(schema, check_metadata=False):
        yield "has other columns than the encoder's record says; move it elsewhere"
        return
    num_twice = ids.num_rows - pc.count_distinct(ids["clip_id"]).as_py()
    if num_twice:
        yield f"holds {num_twice} clips twice, which no writer does; {anew}"
    if not deep:
        return
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        if record is not None and kind == "features":
            for fault in _value_faults(table, record):
                yield f"{fault}; {anew}"


def _value_faults(table: pa.Table, record: EncoderRecord) -> Iterator[str]:
    num_frames = table["num_frames"].to_numpy()
    for layer, dim in record.layers.items():
        for name in [*(f"{statistic}_{layer}" for statistic in STATISTICS), *([f"seq_{layer}"] if layer in record.sequences else [])]:
            column = table[name].combine_chunks()
            is_there = column.is_valid().to_numpy(zero_copy_only=False)
            if not np.array_equal(is_there, num_frames > 0):
                yield f"column {name}: has values where there are no frames, or none where there are"
            if not np.isfinite(column.flatten().to_numpy()).all():
                yield f"column {name}: holds values that are not finite"
            if name.startswith("seq_"):
                sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
                # Pooled in time there are fewer frames than were encoded.
                expected = num_frames * dim
                wrong = (sizes % dim != 0) | (sizes > expected) if record.rate_hz else sizes != expected
                if wrong.any():
                    yield f"column {name}: {int(wrong.sum())} clips do not have their frames of {dim} values"
