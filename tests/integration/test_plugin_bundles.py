"""A bundle takes the code of plug-ins along: it predicts where the user's files are not, once that code is allowed to run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from media_factory import tone, write_wave
from training_corpus import make_corpus

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.prediction.bundle import load_bundle
from mer_ray.prediction.bundling import BundleConfig, join_bundles
from mer_ray.prediction.clip_features import read_clip_features
from mer_ray.training import TrainConfig, train

PLUGINS = Path(__file__).parents[1] / "plugins"

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import json, sys, mer_ray
from mer_ray.core.errors import ConfigError
try:
    mer_ray.load_bundle(sys.argv[1]).predict([sys.argv[2]])
except ConfigError as error:
    refusal = str(error)
(one,) = mer_ray.load_bundle(sys.argv[1], allow_plugins=True).predict([sys.argv[2]])
print(json.dumps([refusal, one.probabilities]))
"""


def copy(name: str, folder: Path) -> Path:
    """Of its own content: no process has run it before."""
    path = folder / name
    path.write_text(f"{(PLUGINS / name).read_text()}\n# {folder}\n")
    return path


def test_a_model_of_the_user_is_joined_and_predicts(tmp_path: Path):
    corpus = make_corpus(tmp_path, num_clips=24)
    file = copy("mean_model.py", tmp_path)
    model = {"name": "plugin", "file": str(file), "class": "MeanConfig", "config": {"hidden": 8}}
    values = corpus.config().model_dump(mode="json") | {"model": model, "epochs": 2, "allow_plugins": True}
    train(parse_config(TrainConfig, values, "test"))
    file.unlink()
    join_bundles(BundleConfig(runs=(tmp_path / "run", tmp_path / "run"), out=tmp_path / "joint"))
    clip_ids = [row["clip_id"] for row in corpus.rows]
    found = []
    for folder in (tmp_path / "run" / "bundle", tmp_path / "joint"):
        with pytest.raises(ConfigError, match=r"runs code of .*plugins/.*mean_model.py: set allow_plugins: true"):
            load_bundle(folder, "cpu")
        bundle = load_bundle(folder, "cpu", allow_plugins=True)
        features = read_clip_features(str(tmp_path / "store"), "planted", bundle.facts.encoders, bundle.wanted, clip_ids)
        found.append(bundle.predict_features(features.by_key, [None] * len(clip_ids)).probs_NC)
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    copied = next((tmp_path / "joint" / "plugins").iterdir())
    copied.write_text(copied.read_text() + "\n# changed\n")
    with pytest.raises(ConfigError, match="sha256: "):
        load_bundle(tmp_path / "joint", "cpu", allow_plugins=True)


def test_an_encoder_of_the_user_encodes_files_in_another_process(ray_cluster: None, tmp_path: Path):
    rows = ["path,emotion,speaker_id"]
    for number in range(8):
        write_wave(tmp_path / f"{number}.wav", np.ascontiguousarray((0.1 + 0.8 * (number % 2)) * tone(0.6, frequency_hz=150.0 + number).T))
        rows.append(f"{number}.wav,{('calm', 'cross')[number % 2]},{number // 4}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    build_manifest(
        ManifestConfig.model_validate(
            {
                "corpus": {"name": "table", "path": str(tmp_path / "clips.csv")},
                "out": tmp_path / "m.parquet",
                "folds": {"name": "leave_one_speaker_out"},
            }
        )
    )
    file = copy("loudness_encoder.py", tmp_path)
    encoder = {"name": "plugin", "file": str(file), "class": "LoudnessConfig", "config": {"floor_db": -70}}
    places = {"manifest": tmp_path / "m.parquet", "store": str(tmp_path / "store")}
    extract(parse_config(ExtractConfig, {**places, "encoders": [encoder], "allow_plugins": True, "num_actors": 1}, "test"))
    train(parse_config(TrainConfig, {**places, "out": tmp_path / "run", "inputs": [{"encoder": "loudness"}], "epochs": 3}, "test"))
    file.unlink()
    bundle = tmp_path / "run" / "bundle"
    done = subprocess.run([sys.executable, "-c", SCRIPT, bundle, tmp_path / "3.wav"], capture_output=True, text=True, check=True)
    refusal, probabilities = json.loads(done.stdout)
    assert "runs code of" in refusal and "allow_plugins: true" in refusal
    loaded = load_bundle(bundle, "cpu")
    features = read_clip_features(str(tmp_path / "store"), "clips", loaded.facts.encoders, loaded.wanted, ["3"])
    assert list(probabilities.values()) == pytest.approx(loaded.predict_features(features.by_key, [None]).probs_NC[0].tolist(), abs=1e-5)
