"""Two corpora with other words for the same emotions: joined, extracted, trained on one and tested on the other, in one job."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from media_factory import noise, tone, write_wave

from mer_ray.core.manifest import read_manifest
from mer_ray.workflow.job import load_job
from mer_ray.workflow.runner import run_job

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NUM_CLIPS = 18
DURATION_S = 0.6
# How each emotion sounds: base frequency, share of noise.
SOUNDS = {"anger": (420.0, 0.9), "sadness": (140.0, 0.05), "calm": (220.0, 0.4)}


def write_corpus(folder: Path, words: dict[str, str | None], valence: dict[str, float], seed: int) -> None:
    """Clips of three sounds in turn, labelled by `words`."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    lines = ["path,speaker_id,emotion,valence"]
    for number in range(NUM_CLIPS):
        sound = list(SOUNDS)[number % len(SOUNDS)]
        frequency, share = SOUNDS[sound]
        pitch = tone(DURATION_S, frequency_hz=frequency * rng.uniform(0.9, 1.1))
        wave = (1 - share) * pitch + share * noise(DURATION_S, seed=seed + number)
        write_wave(folder / f"{number:02}.wav", np.ascontiguousarray(wave.T.astype(np.float32)))
        lines.append(f"{number:02}.wav,{number % 4},{words[sound] or ''},{valence[sound]}")
    (folder / "labels.csv").write_text("\n".join([*lines, ""]))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "acted", {name: name for name in SOUNDS}, {"anger": 2, "sadness": 1, "calm": 4}, seed=100)
    write_corpus(
        tmp_path / "wild", {"anger": "angry", "sadness": "sad", "calm": None}, {"anger": -2.5, "sadness": -5, "calm": 2.5}, seed=500
    )
    target = {"classes": ["sad", "angry"], "map": {"anger": "angry", "sadness": "sad", "calm": None}}
    acted = {"name": "table", "path": str(tmp_path / "acted" / "labels.csv"), "corpus_name": "acted"}
    wild = {"name": "table", "path": str(tmp_path / "wild" / "labels.csv"), "corpus_name": "wild", "classes": ["sad", "angry"]}
    members = [
        {
            "corpus": {**acted, "value_ranges": {"valence": [1, 5]}},
            "label_map": target,
            "values_to": {"valence": [-5, 5]},
            "split": "train",
        },
        {"corpus": {**wild, "value_ranges": {"valence": [-5, 5]}}, "split": "test"},
    ]
    steps = [
        {
            "verb": "manifest",
            "corpus": {"name": "joined", "corpus_name": "both", "members": members},
            "out": str(tmp_path / "manifest.parquet"),
        },
        {
            "verb": "extract",
            "manifest": str(tmp_path / "manifest.parquet"),
            "store": str(tmp_path / "store"),
            "encoders": [{"name": "spectral"}],
        },
        {
            "verb": "train",
            "manifest": str(tmp_path / "manifest.parquet"),
            "store": str(tmp_path / "store"),
            "out": str(tmp_path / "run"),
            "inputs": [{"encoder": "spectral"}],
            "values": ["valence"],
            "protocol": {"name": "splits", "dev": None},
            "model": {"name": "attention", "hidden": 16, "dropout": 0.1},
            "epochs": 40,
            "learning_rate": 0.01,
            "device": "cpu",
        },
    ]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"steps": steps}))
    return tmp_path / "job.yaml"


def test_training_on_one_corpus_and_testing_on_another(ray_cluster: None, job: Path):
    folder = job.parent
    run_job(load_job(job, []), announce=str, show=repr)

    manifest = read_manifest(folder / "manifest.parquet")
    table = manifest.table.to_pydict()
    assert manifest.facts.classes == ("sad", "angry")
    assert manifest.facts.value_ranges == {"valence": (-5.0, 5.0)}
    assert table["corpus"] == ["acted"] * NUM_CLIPS + ["wild"] * NUM_CLIPS
    assert table["split"] == ["train"] * NUM_CLIPS + ["test"] * NUM_CLIPS
    assert table["clip_id"][0] == "acted/00" and table["speaker_id"][NUM_CLIPS] == "wild/0"
    assert table["emotion"][:3] == ["angry", "sad", None]
    assert table["valence"][:3] == table["valence"][NUM_CLIPS : NUM_CLIPS + 3] == [-2.5, -5.0, 2.5]

    tested = pq.read_table(folder / "run" / "predictions" / "test.parquet").to_pydict()
    assert sorted(tested["clip_id"]) == [f"wild/{number:02}" for number in range(NUM_CLIPS)]
    labels = dict(zip(table["clip_id"], table["emotion"], strict=True))
    judged = [labels[name] == found for name, found in zip(tested["clip_id"], tested["emotion"], strict=True) if labels[name]]
    assert len(judged) == 12 and sum(judged) >= 11
    told = json.loads((folder / "run" / "run.json").read_text())
    assert told["label_maps"] == {"acted": {"anger": "angry", "calm": None, "sadness": "sad"}}
    assert told["corrections"] is None
