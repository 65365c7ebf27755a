"""Clips whose data must be deleted: every row of them goes, from all encoders, and then it is proved.

Parts are written again without these clips and published before the old ones go, so that a crash anywhere leaves every other
row readable; started again it ends. No other work on these encoders can run meanwhile.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mer_ray.core.errors import StoreError
from mer_ray.core.table import Table
from mer_ray.store.catalog import list_names
from mer_ray.store.layout import DESCRIPTION_NAMES, PartKind, Store
from mer_ray.store.lease import LEASE_PREFIX, Leases, hold_removal
from mer_ray.store.overview import list_corpora
from mer_ray.store.parts import list_files, list_parts, name_part, open_part, write_part
from mer_ray.store.publishing import explain_faults, remove_file, remove_leftovers
from mer_ray.store.scanning import PartIds, scan_parts

_KINDS: tuple[PartKind, ...] = ("features", "failures")
_MAX_SHOWN = 5


@dataclass(frozen=True)
class _Folder:
    store: Store
    corpus: str
    key: str
    kind: PartKind

    @property
    def path(self) -> str:
        return self.store.part_folder(self.corpus, self.key, self.kind)


@dataclass(frozen=True)
class RemovalSummary:
    """Rows removed per (corpus, encoder key, kind), and what was read again to prove it."""

    num_clips: int
    num_rows: dict[tuple[str, str, str], int]
    num_leftovers: int
    num_parts_proved: int
    num_files_searched: int
    unknown: tuple[str, ...]

    def table(self) -> Table:
        """The summary as the command line shows it."""
        known = self.num_clips - len(self.unknown)
        notes = [
            f"{sum(self.num_rows.values())} rows of {known} clips removed, {self.num_leftovers} unfinished files of killed writers too",
            f"proved: none of the clips is in the {self.num_parts_proved} parts left; "
            f"{self.num_files_searched} files, written anew or of another kind, were searched byte by byte",
            "still to do by hand: manifests, media, runs with their predictions, bundles and reports; backups; old versions of a bucket "
            "that keeps versions; temporary folders mer-ray-store-* on machines that uploaded",
        ]
        if self.unknown:
            more = f" and {len(self.unknown) - _MAX_SHOWN} more" if len(self.unknown) > _MAX_SHOWN else ""
            notes.insert(1, f"{len(self.unknown)} of the clips have no row in the store: {', '.join(self.unknown[:_MAX_SHOWN])}{more}")
        rows = tuple((*where, count) for where, count in self.num_rows.items())
        return Table("Removed", ("corpus", "encoder", "kind", "rows"), rows, tuple(notes))


def read_clip_ids(path: Path) -> tuple[str, ...]:
    """The clips that a file names, each once: a text file with a clip_id per line, or CSV or Parquet with a column clip_id.

    Raises:
        StoreError: no such file, no such column, or no clip in it.

    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        elif path.suffix == ".csv":
            # As text, whatever it looks like: 007 is not 7.
            options = pyarrow.csv.ConvertOptions(column_types={"clip_id": pa.string()}, strings_can_be_null=False)
            table = pyarrow.csv.read_csv(path, convert_options=options)
        else:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            table = pa.table({"clip_id": pa.array([line.strip() for line in lines], pa.string())})
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read as a list of clips: {' '.join(str(error).split())}") from error
    if "clip_id" not in table.column_names:
        raise StoreError(f"{path}: has no column clip_id; columns: {', '.join(table.column_names)}")
    clip_ids = tuple(dict.fromkeys(clip_id for clip_id in table["clip_id"].cast(pa.string()).to_pylist() if clip_id))
    if not clip_ids:
        raise StoreError(f"{path}: names no clip; write one clip_id per line")
    return clip_ids


def remove_clips(store: Store, clip_ids: Sequence[str], corpus: str | None = None) -> RemovalSummary:
    """Remove all rows of these clips from all encoders of one corpus (None = of all), and prove that they are gone.

    Raises:
        StoreError: no store, no such corpus, other work on an encoder is running, a damaged or foreign part, the store cannot be
            written, or a row is still there in the end.

    """
    corpora = list_corpora(store)
    if corpus is not None and corpus not in corpora:
        raise StoreError(f"{store.url}: has no corpus {corpus}; it has {', '.join(corpora)}")
    unwanted = pa.array(clip_ids, pa.string())
    folders = [
        _Folder(store, name, key, kind)
        for name in ([corpus] if corpus else corpora)
        for key in sorted({key for kind in _KINDS for key in list_names(store, store.kind_folder(name, kind))})
        for kind in _KINDS
    ]
    with hold_removal(store, [folder.path for folder in folders if folder.kind == "features"]) as leases:
        num_rows: dict[tuple[str, str, str], int] = {}
        found: set[str] = set()
        rewritten: set[str] = set()
        for folder in folders:
            removed = _remove_from(folder, unwanted, leases, rewritten)
            found.update(removed)
            if removed:
                num_rows[folder.corpus, folder.key, folder.kind] = len(removed)
        num_leftovers = sum(remove_leftovers(store, folder.path, 0.0) for folder in folders)
        num_parts = sum(_prove_parts(folder, unwanted) for folder in folders)
        num_files = sum(_prove_bytes(folder, rewritten, clip_ids) for folder in folders)
        leases.check()
    unknown = tuple(clip_id for clip_id in clip_ids if clip_id not in found)
    return RemovalSummary(len(clip_ids), num_rows, num_leftovers, num_parts, num_files, unknown)


def _remove_from(folder: _Folder, unwanted: pa.Array, leases: Leases, rewritten: set[str]) -> list[str]:
    """Remove the clips from one folder, adding the parts written to `rewritten`; the clip of each row that went."""
    parts = scan_parts(folder.store, folder.corpus, folder.key, folder.kind)
    written_ns = {part.path: part.written_ns for part in parts}
    removed: list[str] = []
    # Oldest first: of two parts that shrink to the same clips the newer one then stays.
    for part in sorted(parts, key=lambda part: part.written_ns):
        goes = pc.is_in(part.ids["clip_id"], value_set=unwanted)
        if not pc.any(goes).as_py():
            continue
        leases.check()
        path = _write_rest(folder, part, part.ids.filter(pc.invert(goes)), unwanted, written_ns)
        if path is not None:
            rewritten.add(path)
        remove_file(folder.store, part.path)
        removed += part.ids["clip_id"].filter(goes).to_pylist()
    return removed


def _write_rest(folder: _Folder, part: PartIds, rest: pa.Table, unwanted: pa.Array, written_ns: dict[str, int]) -> str | None:
    """Publish the rows of a part that stay, as old as they are, in their order; the path, None where nothing was to write."""
    path = f"{folder.path}/{name_part(folder.key, rest['clip_id'].to_pylist(), rest['input_hash'].to_pylist())}"
    # A part of the same clips and inputs that is newer stands for them already.
    if not rest.num_rows or written_ns.get(path, -1) >= part.written_ns:
        return None
    with open_part(folder.store, part.path, folder.key, folder.kind) as opened:
        schema = opened.file.schema_arrow.remove_metadata()
        groups = _filter_groups(opened.file, unwanted)
        write_part(folder.store, path, folder.key, folder.kind, schema, groups, rest.num_rows, part.written_ns)
    written_ns[path] = part.written_ns
    return path


def _filter_groups(file: pq.ParquetFile, unwanted: pa.Array) -> Iterator[pa.Table]:
    for number in range(file.num_row_groups):
        table = file.read_row_group(number).replace_schema_metadata(None)
        kept = table.filter(pc.invert(pc.is_in(table["clip_id"], value_set=unwanted)))
        if kept.num_rows:
            yield kept


def _prove_parts(folder: _Folder, unwanted: pa.Array) -> int:
    """Read the ids of all parts from a new listing; how many parts there are."""
    parts = scan_parts(folder.store, folder.corpus, folder.key, folder.kind)
    for part in parts:
        if pc.any(pc.is_in(part.ids["clip_id"], value_set=unwanted)).as_py():
            raise StoreError(
                f"{folder.store.locate(part.path)}: holds clips again that were just removed: a writer is at work; stop it, start again"
            )
    return len(parts)


def _prove_bytes(folder: _Folder, rewritten: set[str], clip_ids: Sequence[str]) -> int:
    """Search the parts just written, and all files that are no parts, for the ids; how many files were searched."""
    store, num_files = folder.store, 0
    parts = set(list_parts(store, folder.path))
    for path in list_files(store, folder.path):
        is_part, name = path in parts, path.rsplit("/", 1)[-1]
        if not name or name in DESCRIPTION_NAMES or name.startswith(LEASE_PREFIX) or (is_part and path not in rewritten):
            continue
        with explain_faults(store, path, "read"):
            content = store.filesystem.cat_file(path)
        found = _find_stored(content, clip_ids) if is_part else _find_words(content, clip_ids)
        if found is not None:
            raise StoreError(
                f"{store.locate(path)}: still holds the clip {found.decode(errors='replace')}; remove this file and start again"
            )
        num_files += 1
    return num_files


def _find_stored(content: bytes, clip_ids: Sequence[str]) -> bytes | None:
    """Find an id as Parquet stores strings: its length in four bytes before it."""
    unwanted = {clip_id.encode() for clip_id in clip_ids}
    for length in sorted({len(clip_id) for clip_id in unwanted}):
        for match in re.finditer(b"(?=" + re.escape(struct.pack("<I", length)) + b")", content):
            candidate = content[match.start() + 4 : match.start() + 4 + length]
            if candidate in unwanted:
                return candidate
    return None


def _find_words(content: bytes, clip_ids: Sequence[str]) -> bytes | None:
    """Find an id that is not part of a longer one."""
    for clip_id in clip_ids:
        match = re.search(rb"(?<![\w.-])" + re.escape(clip_id.encode()) + rb"(?![\w.-])", content)
        if match:
            return match.group()
    return None
