"""Clips that the extraction could not encode, read from the run's feature store."""

from typing import Any

from mer_ray.core.errors import StoreError
from mer_ray.reporting.runs import Run
from mer_ray.store.failures import read_failures
from mer_ray.store.layout import open_store
from mer_ray.store.record import find_record

MAX_ROWS = 50
SHOWN_COLUMNS = ("clip_id", "stage", "error_type", "message")


def failures_of(run: Run) -> dict[str, Any]:
    """Failures of the run's encoders: counts, the first rows with reasons; `note` says why there is nothing to list."""
    encoders = list(dict.fromkeys(stream["encoder"] for stream in run.facts["streams"]))
    url = run.config.get("store")
    if not isinstance(url, str):
        return _nothing("The run's config names no store, so failures of the extraction are not known.")
    try:
        rows = [{"encoder": key, **row} for key in encoders for row in _read(url, run.facts["corpus"], key)]
    except StoreError as error:
        return _nothing(f"Failures of the extraction are not known: {error}")
    counts = [{"encoder": key, "num_failures": sum(row["encoder"] == key for row in rows)} for key in encoders]
    note = None if rows else "None: every clip of the store went through the encoders of this run."
    return {"note": note, "num_failures": len(rows), "encoders": counts, "rows": rows[:MAX_ROWS]}


def _read(url: str, corpus: str, key: str) -> list[dict[str, Any]]:
    store = open_store(url)
    if find_record(store, corpus, key) is None:
        raise StoreError(f"{url}: holds no encoder {key} of corpus {corpus} any more")
    rows: list[dict[str, Any]] = read_failures(store, corpus, key).select(SHOWN_COLUMNS).to_pylist()
    return rows


def _nothing(note: str) -> dict[str, Any]:
    return {"note": note, "num_failures": None, "encoders": [], "rows": []}
