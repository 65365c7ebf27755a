"""Adds to a written run what models of several steps, with gates and learnt weights leave behind."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mer_ray.core.media_types import Features
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

# The row of predictions/<split>.parquet -> the model's number about it.
OfRow = Callable[[dict[str, Any]], float | None]
# The row of metrics.jsonl -> the value of a quantity.
OfEpoch = Callable[[dict[str, Any]], float]


def add_model_columns(folder: Path, columns: Mapping[str, OfRow]) -> None:
    """`model_<name>` of every prediction."""
    path = folder / "predictions/test.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    for name, number in columns.items():
        table = table.append_column(f"model_{name}", pa.array([number(row) for row in rows], pa.float32()))
    pq.write_table(table, path)


def add_history(folder: Path, quantities: Mapping[str, OfEpoch]) -> list[dict[str, Any]]:
    """Further quantities of every epoch; gives the rows."""
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row | {name: value(row) for name, value in quantities.items()} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def add_facts(folder: Path, **facts: Any) -> None:
    """Keys of run.json; `model` is joined with what is there."""
    path = folder / "run.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps({**there, **facts, "model": {**there["model"], **facts.get("model", {})}}))


def add_ensemble(folder: Path, gain: float = 0.02) -> dict[str, float]:
    """Scores of the seeds together, better than their mean by `gain`; gives them."""
    path = folder / "scores.json"
    written = json.loads(path.read_text())
    test = written["splits"]["test"]
    test["ensemble"] = {name: mean + gain for name, mean in test["mean"].items()}
    test["ensemble_interval"] = {name: [mean - gain, mean + 3 * gain] for name, mean in test["mean"].items()}
    path.write_text(json.dumps(written))
    return dict(test["ensemble"])


def write_snr(store: Path, corpus: str, snr_db: Iterable[float]) -> None:
    """A store with the signal to noise ratio of clip_000, clip_001, ..."""
    identity = "01234567" * 8
    facts = {"name": "sound_quality", "modality": "audio", "layers": {"snr_db": 1}}
    record = EncoderRecord.model_validate({"key": encoder_key("sound_quality", identity), "identity": identity, "config": {}, **facts})
    zero_D = np.zeros(1, np.float32)
    rows = [
        FeatureRow(f"clip_{clip:03d}", "hash", Features(1, 0.0, {"snr_db": np.float32([value])}, {"snr_db": zero_D}))
        for clip, value in enumerate(snr_db)
    ]
    write_features(open_store(store), corpus, record, rows)
