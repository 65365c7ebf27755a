"""Plug-ins of all families in real runs: a manifest, an extraction and a training on Ray, whose workers do not see the files."""

import os
from pathlib import Path

import numpy as np
import pytest
import ray
from corpus_cases import make_sounds
from training_corpus import make_corpus

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.manifest import read_manifest
from mer_ray.encoders import EncoderConfig, encoder_key
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.dry_run import plan_tables
from mer_ray.extraction.extract import extract
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.store.catalog import resolve_encoder
from mer_ray.store.checking import check_store
from mer_ray.store.layout import open_store
from mer_ray.store.plugin_source import read_plugin_source
from mer_ray.store.reader import read_pooled
from mer_ray.training import train

PLUGINS = Path(__file__).parents[1] / "plugins"

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def copy(name: str, folder: Path) -> Path:
    """Of its own content: no worker has run it before."""
    path = folder / name
    path.write_text(f"{(PLUGINS / name).read_text()}\n# {folder}\n")
    return path


def manifest_config(folder: Path, **changes: object) -> ManifestConfig:
    corpus = {
        "name": "plugin",
        "file": str(copy("lab_corpus.py", folder)),
        "class": "LabConfig",
        "config": {"path": str(make_sounds(folder / "sounds"))},
    }
    return parse_config(ManifestConfig, {"corpus": corpus, "out": folder / "manifest.parquet", "allow_plugins": True, **changes}, "test")


def extract_config(folder: Path, file: Path, **changes: object) -> ExtractConfig:
    encoder = {"name": "plugin", "file": str(file), "class": "LoudnessConfig", "config": {"floor_db": -70}}
    values = {"manifest": folder / "manifest.parquet", "store": str(folder / "store"), "encoders": [encoder], "num_actors": 2}
    return parse_config(ExtractConfig, {**values, "allow_plugins": True, **changes}, "test")


def test_a_corpus_becomes_a_manifest(tmp_path: Path):
    build_manifest(manifest_config(tmp_path))
    manifest = read_manifest(tmp_path / "manifest.parquet")
    assert manifest.facts.corpus == "lab"
    assert manifest.table["emotion"].to_pylist() == ["calm", "cross", "glad", "calm"]
    with pytest.raises(ConfigError, match="test: corpus: runs code of"):
        manifest_config(tmp_path, allow_plugins=False)


def test_an_encoder_extracts_where_its_file_is_gone_and_leaves_its_code_beside_the_features(tmp_path: Path, ray_cluster: None):
    build_manifest(manifest_config(tmp_path))
    file = copy("loudness_encoder.py", tmp_path)
    config = extract_config(tmp_path, file)
    text = file.read_text()
    assert plan_tables(config)[0].rows[0][1] == encoder_key(config.encoders[0])
    file.unlink()
    summary = extract(config)
    key = encoder_key(config.encoders[0])
    assert key.startswith("loudness@") and summary.done == {key: 4}
    store = open_store(config.store)
    record = resolve_encoder(store, "lab", "loudness")
    assert (record.key, record.name, record.layers) == (key, "loudness", {"level": 1, "change": 2})
    assert record.config["sha256"] == config.encoders[0].sha256 and record.config["config"]["floor_db"] == -70
    assert read_plugin_source(store, "lab", key) == text
    assert check_store(store, deep=True).faults == []
    clip_ids = read_manifest(config.manifest).table["clip_id"].to_pylist()
    pooled = read_pooled(store, "lab", record, ("level",), ("mean",), clip_ids)
    assert pooled.present.all() and all(np.isfinite(column).all() for column in pooled.columns.values())
    file.write_text(text)
    assert extract(extract_config(tmp_path, file)).num_clips == 0
    file.write_text(text.replace("20 ms", "20 milliseconds"))
    assert set(extract(extract_config(tmp_path, file)).done.values()) == {4}


def test_a_worker_that_never_saw_the_file_builds_the_encoder(tmp_path: Path, ray_cluster: None):
    file = copy("loudness_encoder.py", tmp_path)
    config = extract_config(tmp_path, file).encoders[0]
    file.unlink()

    def describe(given: EncoderConfig) -> tuple[int, str, dict[str, int]]:
        return os.getpid(), encoder_key(given), given.build("cpu").layers

    process, key, layers = ray.get(ray.remote(describe).remote(config))
    assert process != os.getpid()
    assert (key, layers) == (encoder_key(config), {"level": 1, "change": 2})


def test_code_that_fails_on_the_workers_is_told_by_its_line(tmp_path: Path, ray_cluster: None):
    build_manifest(manifest_config(tmp_path))
    file = copy("loudness_encoder.py", tmp_path)
    driver = os.getpid()
    guard = f"import os\nif os.getpid() != {driver}:\n    raise ImportError('this node lacks a library')\n"
    file.write_text(guard + file.read_text().replace('"""A plug-in', '"""Another plug-in'))
    with pytest.raises(ConfigError, match=r"loudness_encoder\.py:3: its code raised ImportError: this node lacks a library"):
        extract(extract_config(tmp_path, file))


def test_training_on_two_workers_chooses_between_settings_of_a_model(tmp_path: Path, ray_cluster: None):
    corpus = make_corpus(tmp_path)
    file = copy("mean_model.py", tmp_path)
    model = {"name": "plugin", "file": str(file), "class": "MeanConfig"}
    protocol = {"name": "splits", "train": "train", "dev": "dev", "test": ["test"]}
    changes = {
        "candidates": [{"model.config.hidden": 4}, {"model.config.hidden": 12}],
        "protocol": protocol,
        "num_workers": 2,
        "epochs": 20,
    }
    config = corpus.config("run", model=model, allow_plugins=True, **changes)
    file.unlink()
    summary = train(config)
    assert summary.facts["num_workers"] == 2 and list(summary.facts["plugins"].values()) == [config.model.sha256]
    assert summary.scores["test"]["mean"]["weighted_f1"] > 0.4
