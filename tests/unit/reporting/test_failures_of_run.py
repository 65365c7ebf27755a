from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from written_run import RunMaker

from mer_ray.core.media_types import Features
from mer_ray.reporting.failures import MAX_ROWS, failures_of
from mer_ray.reporting.runs import read_run
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow, write_failures, write_features

IDENTITY = "01234567" * 8


def write_store(folder: Path, num_failures: int) -> None:
    store = open_store(folder)
    key = encoder_key("spectral", IDENTITY)
    record = EncoderRecord(name="spectral", key=key, identity=IDENTITY, config={}, modality="audio", layers={"a": 2})
    vector_D = np.zeros(2, np.float32)
    write_features(store, "synthetic", record, [FeatureRow("good", "hash", Features(3, 0.1, {"a": vector_D}, {"a": vector_D}))])
    if num_failures:
        now = datetime.now(UTC)
        rows = [FailureRow(f"bad_{clip:03d}", "hash", "decode", "MediaError", "no sound stream", now) for clip in range(num_failures)]
        write_failures(store, "synthetic", key, rows)


def found(make_run: RunMaker, store: Path | str | None) -> dict[str, Any]:
    config = {} if store is None else {"store": str(store)}
    return failures_of(read_run(make_run(streams=("spectral",), config=config)))


def test_failures_are_counted_and_the_first_listed(make_run: RunMaker, tmp_path: Path) -> None:
    write_store(tmp_path / "store", MAX_ROWS + 3)
    failures = found(make_run, tmp_path / "store")
    assert failures["note"] is None
    assert failures["encoders"] == [{"encoder": "spectral@01234567", "num_failures": MAX_ROWS + 3}]
    assert len(failures["rows"]) == MAX_ROWS
    assert failures["rows"][0] == {
        "encoder": "spectral@01234567",
        "clip_id": "bad_000",
        "stage": "decode",
        "error_type": "MediaError",
        "message": "no sound stream",
    }


def test_no_failure(make_run: RunMaker, tmp_path: Path) -> None:
    write_store(tmp_path / "store", 0)
    failures = found(make_run, tmp_path / "store")
    assert failures["num_failures"] == 0
    assert failures["note"].startswith("None:")


def test_a_lost_store_is_said_and_not_taken_for_success(make_run: RunMaker, tmp_path: Path) -> None:
    failures = found(make_run, tmp_path / "gone")
    assert failures["num_failures"] is None
    assert "holds no encoder spectral@01234567 of corpus synthetic any more" in failures["note"]


def test_a_config_without_store_is_said(make_run: RunMaker) -> None:
    assert "names no store" in found(make_run, None)["note"]
