"""Makes what lies beside this file: run it only when a new format gets a folder of its own, never to make a test pass.

.venv/bin/python tests/golden/make_golden.py tests/golden/v1
"""

import json
import shutil
import sys
import tempfile
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

import mer_ray
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.decoders.limits import MediaLimits
from mer_ray.encoders.hashing import HashingConfig
from mer_ray.encoders.spectral import SpectralConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.plan import plan_extraction
from mer_ray.extraction.shard_encoder import ShardWorker
from mer_ray.extraction.shards import Shard, ShardClip
from mer_ray.training import TrainConfig, train

CLASSES = ("neutral", "angry", "happy")
SENTENCES = ("it is on the table", "leave me alone at once", "what a lovely day", None)
NUM_CLIPS = 12
RATE_HZ = 16_000


def make_sounds(folder: Path) -> list[Path]:
    """Half a second of a voice-like tone, higher and louder by class."""
    paths = []
    for number in range(NUM_CLIPS):
        time_s = np.arange(RATE_HZ // 2) / RATE_HZ
        pitch_hz = 110 + 60 * (number % 3) + 3 * number
        tone = sum(np.sin(2 * np.pi * pitch_hz * harmonic * time_s) / harmonic for harmonic in range(1, 8))
        loudness = 0.1 + 0.08 * (number % 3)
        random = np.random.default_rng(number)
        sound = loudness * tone * (1 + 0.5 * np.sin(2 * np.pi * 4 * time_s)) + 0.003 * random.normal(size=len(time_s))
        path = folder / f"clip{number:02d}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((32767 * sound.clip(-1, 1)).astype("<i2").tobytes())
        paths.append(path)
    return paths


def make(out: Path) -> None:
    """Write `out`, which must not be there yet."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "clips").mkdir()
        rows = [
            dict.fromkeys(MANIFEST_SCHEMA.names)
            | {
                "clip_id": path.stem,
                "path": f"clips/{path.name}",
                "duration_s": 0.5,
                "speaker_id": f"speaker{number % 2}",
                "split": ("train", "train", "test")[number % 3] if number < 6 else "train",
                "fold": number % 2,
                "text": SENTENCES[number % 4],
                "emotion": CLASSES[number % 3],
                "valence": (0.0, -2.0, 2.5)[number % 3],
            }
            for number, path in enumerate(make_sounds(work / "clips"))
        ]
        table = pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)
        facts = ManifestFacts("golden", CLASSES, str(work), {"valence": (-5.0, 5.0)}, licence="Apache-2.0")
        write_manifest(Manifest(table, facts), work / "manifest.parquet")
        encoders = (SpectralConfig(), HashingConfig())
        plan = plan_extraction(ExtractConfig(manifest=work / "manifest.parquet", store=str(work / "store"), encoders=encoders))
        worker = ShardWorker(encoders, str(work / "store"), "golden", MediaLimits(), 64.0, "cpu")
        clips = [ShardClip(clip, {key: plan.hashes[key][row].as_py() for key in plan.keys}) for row, clip in enumerate(plan.clips)]
        worker.process(Shard(0, tuple(clips)))
        train(
            TrainConfig.model_validate(
                {
                    "manifest": work / "manifest.parquet",
                    "store": str(work / "store"),
                    "out": work / "run",
                    "inputs": [
                        {"encoder": "spectral", "layers": ["pitch", "energy"]},
                        {"encoder": "hashing", "layers": ["word_1_256"], "statistics": ["mean"]},
                    ],
                    "model": {"name": "attention", "hidden": 8},
                    "values": ["valence"],
                    "seeds": [0, 1],
                    "epochs": 5,
                    "device": "cpu",
                }
            )
        )
        recogniser = mer_ray.load_bundle(work / "run" / "bundle", device="cpu")
        found = recogniser.predict([{"path": work / row["path"], "text": row["text"]} for row in rows])
        expected = {one.clip_id: {"probabilities": one.probabilities, "values": one.values, "used": one.used} for one in found}
        # Nothing of the machine that made it.
        config = (work / "run" / "config.yaml").read_text().replace(str(work), "/golden")
        (work / "run" / "config.yaml").write_text(config)
        write_manifest(Manifest(table, replace(facts, root="/golden")), work / "manifest.parquet")
        shutil.rmtree(work / "run" / "checkpoints")
        for clip in (work / "clips").iterdir():
            if clip.stem not in ("clip00", "clip01"):
                clip.unlink()
        out.mkdir(parents=True)
        (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
        for part in ("manifest.parquet", "store", "run", "clips"):
            (shutil.copytree if (work / part).is_dir() else shutil.copyfile)(work / part, out / part)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
