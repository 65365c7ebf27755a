from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mertools_tree import DIM, NUM_TRAIN, make_tree

from mer_ray.core.config import digest_of, parse_config
from mer_ray.core.errors import ConfigError, StoreError
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features
from mer_ray.corpora.mertools_labels import CLASSES
from mer_ray.extraction import dataset_folder, layer_source
from mer_ray.extraction.feature_export import ExportConfig, export_features
from mer_ray.extraction.mertools_import import ImportConfig, import_mertools
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

# Half of float16's last digit.
FLOAT16_RELATIVE = 2**-11


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imported")
    make_tree(root / "mer2023")
    (root / "mer2023" / "features" / "manet_UTT" / "sample_90.npy").unlink()
    source = {"name": "mertools", "path": str(root / "mer2023")}
    folds = {"name": "stratified", "num_folds": 2, "splits": ["train"]}
    given = {"source": source, "manifest": str(root / "manifest.parquet"), "store": str(root / "store"), "folds": folds, "num_threads": 2}
    import_mertools(parse_config(ImportConfig, given, "test"))
    return root


def configure(root: Path, out: Path, **changes) -> ExportConfig:
    given = {"features": "mertools", "manifest": str(root / "manifest.parquet"), "store": str(root / "store"), "out": str(out), **changes}
    return parse_config(ExportConfig, given, "test")


def write_layers(root: Path, clip_ids: list[str], splits: list[str]) -> None:
    """A store of an encoder with two layers, and its manifest."""
    identity = digest_of("two layers")
    record = EncoderRecord(
        name="tone",
        key=encoder_key("tone", identity),
        identity=identity,
        config={},
        modality="audio",
        layers={"low": 2, "high": 3},
        sequences=("high",),
    )
    values = {"low": np.arange(2, dtype=np.float32), "high": np.arange(3, dtype=np.float32)}
    rows = [FeatureRow(clip_id, "0", Features(4, 0.1, values, values, {"high": np.ones((4, 3), np.float32)})) for clip_id in clip_ids]
    write_features(open_store(root / "store"), "tones", record, rows)
    table = pa.Table.from_pylist([{"clip_id": name, "split": split} for name, split in zip(clip_ids, splits, strict=True)], MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("tones", (), str(root))), root / "manifest.parquet")


@pytest.mark.parametrize("encoder", ["chinese-hubert-large-UTT", "manet_UTT", "wavlm-large-FRA"])
def test_what_was_imported_comes_back(imported: Path, tmp_path: Path, encoder: str, monkeypatch):
    monkeypatch.setattr(layer_source, "POOLED_CLIPS_AT_ONCE", 10)
    summary = export_features(configure(imported, tmp_path, encoder=encoder))
    originals = {path.name: np.load(path) for path in (imported / "mer2023" / "features" / encoder).iterdir()}
    back = {path.name: np.load(path) for path in (tmp_path / "features" / encoder).iterdir()}
    assert set(back) == set(originals) and summary.num_clips == len(originals)
    assert summary.left_out == ({"failed": 1} if encoder == "manet_UTT" else {})
    for name, values in originals.items():
        assert back[name].dtype == np.float32 and back[name].shape == values.shape
        np.testing.assert_allclose(back[name], values, rtol=FLOAT16_RELATIVE, atol=1e-7)
    assert [folder.name for folder in (tmp_path / "features").iterdir()] == [encoder]


def test_what_was_exported_can_be_imported(imported: Path, tmp_path: Path):
    export_features(configure(imported, tmp_path, encoder="wavlm-large-FRA"))
    export_features(configure(imported, tmp_path, encoder="wavlm-large-FRA", sequences=False))
    for name in ("label-6way.npz", "transcription-engchi-polish.csv"):
        (tmp_path / name).write_bytes((imported / "mer2023" / name).read_bytes())
    given = {
        "source": {"name": "mertools", "path": str(tmp_path)},
        "manifest": str(tmp_path / "m.parquet"),
        "store": str(tmp_path / "store"),
    }
    summary = import_mertools(parse_config(ImportConfig, {**given, "num_threads": 2}, "test"))
    assert {each.record.name: each.failed + each.absent for each in summary.folders} == {"wavlm-large-FRA": 0, "wavlm-large-UTT": 0}


def test_a_layer_of_several_has_its_own_folder(tmp_path: Path):
    write_layers(tmp_path, ["a", "b"], ["train", "train"])
    export_features(configure(tmp_path, tmp_path / "out", encoder="tone", layer="high"))
    export_features(configure(tmp_path, tmp_path / "out", encoder="tone", layer="low"))
    folders = tmp_path / "out" / "features"
    assert sorted(folder.name for folder in folders.iterdir()) == ["tone-high-FRA", "tone-high-UTT", "tone-low-UTT"]
    assert np.load(folders / "tone-high-UTT" / "a.npy").tolist() == [0, 1, 2]
    assert np.load(folders / "tone-high-FRA" / "a.npy").tolist() == [[1, 1, 1]] * 4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoder": "tone"}, ConfigError, "has 2; write one of low, high"),
        ({"encoder": "tone", "layer": "hight"}, ConfigError, "no layer 'hight'; did you mean 'high'"),
        ({"encoder": "tune", "layer": "low"}, StoreError, "has no encoder tune"),
        ({"encoder": "tone", "layer": "low"}, ConfigError, r"2 clip_ids cannot \(one is '../a'\); use features=datasets"),
        ({"encoder": "tone", "layer": "low", "features": "datasets"}, ConfigError, "the splits 'x-y' and 'x_y' would both be named 'x_y'"),
    ],
)
def test_what_cannot_be_exported_is_named_and_leaves_nothing(tmp_path: Path, changes, error, message: str):
    write_layers(tmp_path, ["../a", "b/c", "d"], ["x-y", "x_y", "x"])
    with pytest.raises(error, match=message):
        export_features(configure(tmp_path, tmp_path / "out" / "deep", **changes))
    assert not (tmp_path / "out" / "deep").exists() and list((tmp_path / "out").rglob("*")) == []


def test_a_folder_is_replaced_only_on_request(imported: Path, tmp_path: Path):
    kept = tmp_path / "features" / "manet_UTT" / "mine.npy"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(ConfigError, match="manet_UTT is there already and is not replaced"):
        export_features(configure(imported, tmp_path, encoder="manet_UTT"))
    with pytest.raises(ConfigError, match="is there already"):
        export_features(configure(imported, tmp_path, encoder="manet_UTT", features="datasets"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    summary = export_features(configure(imported, tmp_path, encoder="manet_UTT", replace=True))
    assert not kept.exists() and len(list(kept.parent.iterdir())) == summary.num_clips


def test_a_dataset_has_a_file_per_split_with_labels(imported: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dataset_folder, "SHARD_BYTES", 20 * 4 * 7 * DIM)
    export_features(configure(imported, tmp_path / "data set", encoder="wavlm-large-FRA", features="datasets"))
    files = sorted(path.name for path in (tmp_path / "data set" / "data").iterdir())
    train = [name for name in files if name.startswith("train-")]
    assert len(train) > 1 and train == [f"train-{number:05d}-of-{len(train):05d}.parquet" for number in range(len(train))]
    assert files[: -len(train)] == ["test1-00000-of-00001.parquet", "test3-00000-of-00001.parquet"]
    tables = [pq.read_table(tmp_path / "data set" / "data" / name) for name in train]
    rows = pa.concat_tables(tables).to_pylist()
    assert [row["clip_id"] for row in rows] == [f"sample_{number:08d}" for number in range(NUM_TRAIN)]
    for number, row in enumerate(rows):
        frames = np.load(imported / "mer2023" / "features" / "wavlm-large-FRA" / f"{row['clip_id']}.npy")
        np.testing.assert_allclose(row["frames"], frames, rtol=FLOAT16_RELATIVE, atol=1e-7)
        np.testing.assert_allclose(row["mean"], frames.mean(axis=0), rtol=2e-3, atol=2e-3)
        assert row["num_frames"] == len(frames) and len(row["std"]) == DIM
        assert row["emotion"] == CLASSES[number % 6] and row["label"] == number % 6 and row["fold"] in (0, 1) and row["valence"] is not None
    unlabelled = pq.read_table(tmp_path / "data set" / "data" / files[1])
    assert unlabelled["label"].null_count == unlabelled["emotion"].null_count == unlabelled.num_rows == 4
    assert unlabelled.schema.field("mean").type == pa.list_(pa.float32())
    assert unlabelled.schema.field("frames").type == pa.list_(pa.list_(pa.float32()))


def test_the_card_describes_the_columns(imported: Path, tmp_path: Path):
    out = tmp_path / "dataset"
    export_features(configure(imported, out, encoder="manet_UTT", features="datasets"))
    _, header, text = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(header)
    assert card["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train-*.parquet"}
    features = {feature.pop("name"): feature for feature in card["dataset_info"]["features"]}
    written = pq.read_schema(out / "data" / "train-00000-of-00001.parquet")
    assert list(features) == written.names and "frames" not in features
    assert features["label"]["dtype"]["class_label"]["names"]["1"] == "angry"
    assert features["mean"] == {"sequence": "float32"} and features["clip_id"] == {"dtype": "string"}
    assert "1 clips are not in it: failed." in text
