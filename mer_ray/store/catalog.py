"""What a store holds: which encoders, and per encoder which clips are done, failed, or left to do."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import PartKind, Store
from mer_ray.store.parts import list_parts
from mer_ray.store.publishing import explain_faults
from mer_ray.store.record import EncoderRecord, find_record
from mer_ray.store.scanning import PartIds, read_stable, scan_parts
from mer_ray.store.schemas import ID_COLUMNS
from mer_ray.store.selection import select_rows

_ID_SCHEMA = pa.schema([(name, pa.string()) for name in ID_COLUMNS])


def read_done(store: Store, corpus: str, key: str) -> pa.Table:
    """The clips with features: clip_id, input_hash; a pair may come more than once.

    Raises:
        StoreError: a part is damaged or foreign.

    """
    return _read_ids(store, corpus, key, "features")


def read_failed(store: Store, corpus: str, key: str) -> pa.Table:
    """The clips with failures: clip_id, input_hash; a pair may come more than once.

    Raises:
        StoreError: a part is damaged or foreign.

    """
    return _read_ids(store, corpus, key, "failures")


def left_to_do(store: Store, corpus: str, key: str, wanted: pa.Table, retry_failed: bool = False) -> pa.Table:
    """The rows of `wanted` (clip_id, input_hash and any more) without features and, unless `retry_failed`, without failures.

    Of features only a clip's newest row counts, because readers take that one: a clip whose file or sentence changed is left
    to do again, also when it changed back. A failure counts for its own input only: files that were away for a while do not
    void the features that they had.

    Raises:
        StoreError: `wanted` lacks an id, or a part is damaged or foreign.

    """
    for name in ID_COLUMNS:
        if name not in wanted.column_names or wanted[name].null_count:
            raise StoreError(f"planning {corpus}/{key}: the wanted clips need a {name} each; columns: {', '.join(wanted.column_names)}")
    folder = store.part_folder(corpus, key, "features")
    features = read_stable(store, folder, lambda: scan_parts(store, corpus, key, "features"))
    failures = read_stable(store, folder, lambda: scan_parts(store, corpus, key, "failures"))
    newest = _newest_hashes(features, wanted["clip_id"].combine_chunks())
    is_settled = pc.fill_null(pc.equal(newest, wanted["input_hash"].combine_chunks()), False)
    if not retry_failed:
        standing = exclude(_stacked(failures), _stacked(features))
        is_settled = pc.or_(is_settled, pc.is_in(_pairs(wanted), value_set=_pairs(standing)).combine_chunks())
    return wanted.filter(pc.invert(is_settled))


def exclude(rows: pa.Table, unwanted: pa.Table) -> pa.Table:
    """The rows whose (clip_id, input_hash) is not in the other table, in their order."""
    return rows.filter(pc.invert(pc.is_in(_pairs(rows), value_set=_pairs(unwanted))))


def list_names(store: Store, folder: str) -> Sequence[str]:
    """The names of a folder's folders, sorted: corpora in the store's root, encoder keys in a corpus's kinds.

    Raises:
        StoreError: the folder cannot be listed.

    """
    with explain_faults(store, folder, "listed"):
        try:
            entries = store.filesystem.ls(folder, detail=True)
        except FileNotFoundError:
            return []
    return sorted(entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in entries if entry["type"] == "directory")


def list_encoders(store: Store, corpus: str) -> list[EncoderRecord]:
    """The encoders of a corpus, by key; none where the store has no such corpus.

    Raises:
        StoreError: a folder of parts without its record, or an unreadable one.

    """
    records = []
    for key in list_names(store, store.kind_folder(corpus, "features")):
        record = find_record(store, corpus, key)
        if record is not None:
            records.append(record)
        # A writer that was killed before it wrote anything leaves an empty folder.
        elif list_parts(store, store.part_folder(corpus, key, "features")):
            path = store.locate(store.record_path(corpus, key))
            raise StoreError(f"{path}: is missing beside its parts; restore it, or remove the folder to extract anew")
    return records


def resolve_encoder(store: Store, corpus: str, name_or_key: str) -> EncoderRecord:
    """Find an encoder by its key `<name>@<identity8>`, or by its name where only one has it: that of media as they are.

    Copies for degraded media share the name, and are found by their keys.

    Raises:
        StoreError: none or several; the message lists what is there.

    """
    records = list_encoders(store, corpus)
    found = [record for record in records if name_or_key == record.key or (name_or_key == record.name and record.degrade is None)]
    if len(found) == 1:
        return found[0]
    if found:
        raise StoreError(
            f"{store.url}: {corpus} has {len(found)} encoders named {name_or_key}; write one of {', '.join(record.key for record in found)}"
        )
    if records:
        raise StoreError(
            f"{store.url}: {corpus} has no encoder {name_or_key}; it has {_listed(records)}; name one of these, or extract it with "
            "`mer-ray extract`"
        )
    corpora = ", ".join(list_names(store, store.root)) or "nothing yet"
    raise StoreError(f"{store.url}: no features of corpus {corpus}; the store has {corpora}; run `mer-ray extract` first")


def _listed(records: Sequence[EncoderRecord]) -> str:
    """The keys, those of media as they are first."""
    clean, degraded = [[one.key for one in records if (one.degrade is None) == is_clean] for is_clean in (True, False)]
    copies = [f"copies for degraded media: {', '.join(degraded)}"] if degraded else []
    return "; ".join([*([", ".join(clean)] if clean else []), *copies])


def _read_ids(store: Store, corpus: str, key: str, kind: PartKind) -> pa.Table:
    return _stacked(read_stable(store, store.part_folder(corpus, key, kind), lambda: scan_parts(store, corpus, key, kind)))


def _stacked(parts: Sequence[PartIds]) -> pa.Table:
    return pa.concat_tables([_ID_SCHEMA.empty_table(), *(part.ids.cast(_ID_SCHEMA) for part in parts)])


def _newest_hashes(parts: Sequence[PartIds], clip_ids: pa.Array) -> pa.Array:
    """The input hash of each clip's newest row in any part, null where there is none."""
    selection = select_rows(parts, clip_ids)
    first_of_part = np.cumsum([0, *(part.ids.num_rows for part in parts)])
    rows = first_of_part[selection.part_of_clip] + selection.row_of_clip
    return _stacked(parts)["input_hash"].combine_chunks().take(pa.array(rows, mask=selection.is_missing))


def _pairs(table: pa.Table) -> pa.ChunkedArray:
    """One string per row; the separator occurs in no id."""
    return pc.binary_join_element_wise(table["clip_id"], table["input_hash"], "\x1f")
