"""What lies in a store, for people: a row per corpus and encoder; and the compaction of all of them."""

from itertools import groupby

from mer_ray.core.degradation import DegradationConfig
from mer_ray.core.errors import StoreError
from mer_ray.core.manifest import CORPUS_NAME
from mer_ray.core.table import Table
from mer_ray.store.catalog import list_encoders, list_names, resolve_encoder
from mer_ray.store.compaction import compact
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.lease import list_leases
from mer_ray.store.publishing import explain_faults
from mer_ray.store.record import EncoderRecord
from mer_ray.store.scanning import read_stable, scan_parts
from mer_ray.store.selection import all_clips

_SHOWN_VERSIONS = ("mer-ray", "torch", "transformers", "timm")


def list_corpora(store: Store) -> list[str]:
    """The corpora of a store.

    Raises:
        StoreError: there are none, or the place cannot be listed.

    """
    # Disks and tools keep hidden folders of their own.
    corpora = [name for name in list_names(store, store.root) if CORPUS_NAME.fullmatch(name)]
    if not corpora:
        raise StoreError(f"{store.url}: no store, it holds no corpus; check the path, or run `mer-ray extract` first")
    return corpora


def list_store(store: Store) -> Table:
    """One row per corpus and encoder: clips done and failed as they are read, parts, size, layers, licence, versions.

    Raises:
        StoreError: no store, or a damaged or foreign part.

    """
    rows, notes = [], []
    for corpus in list_corpora(store):
        for record in list_encoders(store, corpus):
            rows.append((corpus, record.key, *_counts(store, corpus, record), *_shape(record)))
            degraded = "" if record.degrade is None else f"{DegradationConfig.model_validate(record.degrade).describe()}, "
            notes.append(f"{corpus} {record.key}: {degraded}licence {record.licence or 'not recorded'}{_versions(record)}")
            folder = store.part_folder(corpus, record.key, "features")
            notes += [f"at work on {corpus} {record.key}: {text}" for _, text, is_alive in list_leases(store, folder) if is_alive]
    columns = ("corpus", "encoder", "done", "failed", "parts", "MB", "layers x dims", "sequences", "type")
    return Table(f"Store {store.url}", columns, tuple(rows), tuple(notes))


def compact_store(store: Store, corpus: str | None = None, encoder: str | None = None) -> Table:
    """Compact one encoder, all of one corpus, or all of the store.

    Raises:
        StoreError: no such corpus or encoder, a damaged or foreign part, a running removal, or the store cannot be written.

    """
    rows = []
    for name in [corpus] if corpus else list_corpora(store):
        records = [resolve_encoder(store, name, encoder)] if encoder else list_encoders(store, name)
        if not records:
            raise StoreError(f"{store.url}: no features of corpus {name}; the store has {', '.join(list_corpora(store))}")
        for record in records:
            summary = compact(store, name, record.key)
            counts = (summary.num_parts_before, summary.num_parts_after, summary.num_rows_dropped, summary.num_leftovers)
            rows.append((name, record.key, *counts))
    columns = ("corpus", "encoder", "parts before", "parts after", "rows dropped", "unfinished files")
    notes = ("Rows dropped: those of clips that have a newer row, and failures of clips that have features since.",)
    return Table(f"Compacted {store.url}", columns, tuple(rows), notes)


def _counts(store: Store, corpus: str, record: EncoderRecord) -> tuple[int, int, int, float]:
    """Clips done, clips failed, parts, megabytes."""
    folder = store.part_folder(corpus, record.key, "features")
    done = read_stable(store, folder, lambda: scan_parts(store, corpus, record.key, "features"))
    num_failed = read_failures(store, corpus, record.key).num_rows
    kinds: tuple[PartKind, ...] = ("features", "failures")
    sizes = [size for kind in kinds for size in _part_sizes(store, store.part_folder(corpus, record.key, kind))]
    return len(all_clips(done)), num_failed, len(sizes), sum(sizes) / 1e6


def _part_sizes(store: Store, folder: str) -> list[int]:
    with explain_faults(store, folder, "listed"):
        try:
            entries = store.filesystem.ls(folder, detail=True)
        except FileNotFoundError:
            return []
    return [int(entry["size"]) for entry in entries if entry["name"].endswith(".parquet")]


def _shape(record: EncoderRecord) -> tuple[str, ...]:
    layers = ", ".join(f"{len(list(names))} x {dim}" for dim, names in groupby(record.layers.values()))
    sequences = ", ".join(record.sequences) + (f" at {record.rate_hz:g} Hz" if record.sequences and record.rate_hz else "")
    return layers, sequences, record.dtype


def _versions(record: EncoderRecord) -> str:
    return "".join(f", {name} {record.versions[name]}" for name in _SHOWN_VERSIONS if name in record.versions)
