"""What earlier versions wrote is read, and predicts the same: a store, a run and a bundle of each format.

A failure here means that users' stores, runs and bundles break: mend the code, never these files.
"""

import json
from pathlib import Path

import pytest

import mer_ray
from mer_ray.core.manifest import read_manifest
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.clip_features import read_clip_features
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.store.checking import check_store
from mer_ray.store.layout import open_store

FOLDERS = sorted(path for path in Path(__file__).parent.glob("v*") if path.is_dir())
TOLERANCE = 1e-5


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param


def expected_of(golden: Path) -> dict[str, dict]:
    return json.loads((golden / "expected.json").read_text())


def test_there_is_something_golden():
    assert FOLDERS


def test_the_store_is_whole_and_read(golden: Path):
    assert check_store(open_store(golden / "store"), deep=True).faults == []
    store = mer_ray.open_store(golden / "store")
    assert store.corpora == ["golden"] and [record.name for record in store.encoders()] == ["hashing", "spectral"]
    features = store.read("spectral", ["pitch"], ["mean"])
    assert list(features.clip_ids) == sorted(expected_of(golden)) and features.present.all()


def test_the_bundle_predicts_the_same_from_the_store(golden: Path):
    manifest, expected = read_manifest(golden / "manifest.parquet"), expected_of(golden)
    bundle = load_bundle(golden / "run" / "bundle", "cpu")
    clip_ids = manifest.table["clip_id"].to_pylist()
    features = read_clip_features(str(golden / "store"), "golden", bundle.facts.encoders, bundle.wanted, clip_ids)
    found = bundle.predict_features(features.by_key, [None] * len(clip_ids))
    for row, clip_id in enumerate(clip_ids):
        assert found.probs_NC[row] == pytest.approx(list(expected[clip_id]["probabilities"].values()), abs=TOLERANCE)
        assert found.values["valence"][row] == pytest.approx(expected[clip_id]["values"]["valence"], abs=TOLERANCE)


def test_the_bundle_predicts_the_same_from_files(golden: Path):
    texts = dict(zip(*[read_manifest(golden / "manifest.parquet").table[name].to_pylist() for name in ("clip_id", "text")], strict=True))
    clips = [{"path": path, "text": texts[path.stem]} for path in sorted((golden / "clips").glob("*.wav"))]
    predictions = mer_ray.load_bundle(golden / "run" / "bundle", device="cpu").predict(clips)
    assert len(predictions) == 2
    for one in predictions:
        expected = expected_of(golden)[one.clip_id]
        assert one.probabilities == pytest.approx(expected["probabilities"], abs=TOLERANCE)
        assert one.values == pytest.approx(expected["values"], abs=TOLERANCE) and list(one.used) == expected["used"]


def test_the_run_can_be_reported(golden: Path, tmp_path: Path):
    (row,) = write_report(ReportConfig(runs=(golden / "run",), out=tmp_path / "report.html")).summary
    scores = json.loads((golden / "run" / "scores.json").read_text())["splits"]["test"]["mean"]
    assert row["scores"]["weighted_f1"]["mean"] == scores["weighted_f1"]
    assert "golden" in (tmp_path / "report.html").read_text()
