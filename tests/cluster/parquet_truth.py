"""What a store holds, told by plain Parquet: the part files and one rule, nothing of mer_ray's reader.

The rule: a row of features beats a failure of the clip, and of several rows of one kind the newest `written_ns` counts.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from chaos_corpus import CORPUS, ChaosCorpus

from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.compaction import compact
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.reader import read_pooled


@dataclass(frozen=True)
class EncoderTruth:
    """One encoder's clips: features as a table sorted by clip_id, failed clips, and how often each clip lies in the files."""

    features: pa.Table
    failed: frozenset[str]
    num_rows: Counter[str]
    num_failures: Counter[str]


def keys_of(store: Path) -> list[str]:
    return sorted(path.name for path in (store / CORPUS / "features").iterdir())


def count_parts(store: Path) -> int:
    return sum(1 for _ in store.rglob("part-*.parquet"))


def read_truth(store: Path, key: str) -> EncoderTruth:
    features, failures = read_kind(store, key, "features"), read_kind(store, key, "failures")
    num_rows, num_failures = (Counter(rows["clip_id"].to_pylist()) for rows in (features, failures))
    return EncoderTruth(newest_rows(features), frozenset(num_failures) - frozenset(num_rows), num_rows, num_failures)


def read_kind(store: Path, key: str, kind: str) -> pa.Table:
    """All rows of all parts with the time of their writing."""
    tables = []
    for path in sorted((store / CORPUS / kind / key).glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            facts = json.loads(file.schema_arrow.metadata[b"mer_ray_store"])
            assert (facts["key"], facts["kind"]) == (key, kind), path
            table = file.read().replace_schema_metadata(None)
        tables.append(table.append_column("written_ns", pa.array([facts["written_ns"]] * table.num_rows, pa.int64())))
    return pa.concat_tables(tables) if tables else pa.table({"clip_id": pa.array([], pa.string()), "written_ns": pa.array([], pa.int64())})


def newest_rows(rows: pa.Table) -> pa.Table:
    newest: dict[str, tuple[int, int]] = {}
    for row, (clip_id, written_ns) in enumerate(zip(rows["clip_id"].to_pylist(), rows["written_ns"].to_pylist(), strict=True)):
        newest[clip_id] = max(newest.get(clip_id, (0, 0)), (written_ns, row))
    chosen = rows.take(pa.array([row for _, (_, row) in sorted(newest.items())], pa.int64()))
    return chosen.drop_columns("written_ns").combine_chunks()


def check_exactly_once(store: Path, corpus: ChaosCorpus, reference: Path) -> int:
    """As read, in plain Parquet and by our reader; then compact, and each clip lies in one file, once.

    Values equal those of the undisturbed run bit for bit. Gives the number of rows that were stored more than once.
    """
    assert keys_of(store) == keys_of(reference)
    num_repeated = 0
    for key in keys_of(store):
        truth = check_as_read(store, key, corpus, reference)
        num_repeated += truth.num_rows.total() + truth.num_failures.total() - len(corpus.clip_ids)
        check_our_reader(store, key, truth)
        compact(open_store(store), CORPUS, key)
        truth = check_as_read(store, key, corpus, reference)
        check_physically(truth, corpus)
        check_our_reader(store, key, truth)
    return num_repeated


def check_as_read(store: Path, key: str, corpus: ChaosCorpus, reference: Path) -> EncoderTruth:
    truth, undisturbed = read_truth(store, key), read_truth(reference, key)
    done = truth.features["clip_id"].to_pylist()
    assert len(done) == len(set(done))
    assert set(done) | truth.failed == corpus.clip_ids
    assert truth.failed == (corpus.broken if key.startswith("spectral") else frozenset())
    assert truth.features.equals(undisturbed.features), f"{store}: {key} differs from the undisturbed run"
    return truth


def check_physically(truth: EncoderTruth, corpus: ChaosCorpus) -> None:
    rows = truth.num_rows + truth.num_failures
    assert set(rows) == corpus.clip_ids
    assert set(rows.values()) == {1}, [clip_id for clip_id, count in rows.items() if count > 1]


def check_our_reader(store: Path, key: str, truth: EncoderTruth) -> None:
    opened = open_store(store)
    record = resolve_encoder(opened, CORPUS, key)
    pooled = read_pooled(opened, CORPUS, record)
    assert list(pooled.clip_ids) == truth.features["clip_id"].to_pylist()
    assert pooled.num_frames.tolist() == truth.features["num_frames"].to_pylist()
    for name, values_ND in pooled.columns.items():
        stored = truth.features[name].combine_chunks()
        assert pooled.present.tolist() == stored.is_valid().to_pylist()
        assert values_ND[pooled.present].tobytes() == pc.drop_null(stored).flatten().to_numpy().tobytes()
    assert frozenset(read_failures(opened, CORPUS, key)["clip_id"].to_pylist()) == truth.failed
