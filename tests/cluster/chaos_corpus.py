"""A corpus of tiny clips, quick to extract: some broken, some without sound, some without a sentence."""

import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest

CORPUS = "chaos"
ENCODERS: Sequence[dict[str, Any]] = ({"name": "spectral"}, {"name": "hashing"})
SAMPLE_RATE_HZ = 16_000
HEADER_BYTES = 12
WORDS = ("again", "crew", "missing", "nobody", "one", "part", "said", "still", "the", "went", "while", "why")


@dataclass(frozen=True)
class ChaosCorpus:
    """Where the corpus lies, all its clips, and those whose sound cannot be decoded."""

    folder: Path
    clip_ids: frozenset[str]
    broken: frozenset[str]

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.parquet"

    def media_path(self, clip_id: str) -> Path:
        return self.folder / f"{clip_id}.wav"

    def config(self, store: Path, **changes: Any) -> dict[str, Any]:
        """The config of an extraction in shards of about two clips, which tolerates every failure."""
        defaults = {"encoders": ENCODERS, "max_failure_rate": 1.0, "num_actors": 1, "decode": "in_actor", "shard_media_s": 2.0}
        return {"manifest": str(self.manifest), "store": str(store), **defaults, **changes}


def make_corpus(folder: Path, num_clips: int, seed: int) -> ChaosCorpus:
    """Every seventh clip has a broken file, every fifth no sentence, every sixth no sound."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows, broken = [], set()
    for number in range(num_clips):
        clip_id, duration_s = f"clip{number:05d}", float(generator.uniform(0.3, 1.5))
        row: dict[str, Any] = {"clip_id": clip_id, "duration_s": duration_s, "split": "unlabelled"}
        if number % 5:
            row["text"] = " ".join(generator.choice(WORDS, 8))
        if number % 6 or not number % 5:
            row["path"] = f"{clip_id}.wav"
            write_sound(folder / row["path"], duration_s, seed=number)
            if number % 7 == 0:
                break_sound(folder / row["path"])
                broken.add(clip_id)
        rows.append(row)
    write_rows(folder / "manifest.parquet", rows)
    return ChaosCorpus(folder, frozenset(row["clip_id"] for row in rows), frozenset(broken))


def break_sound(path: Path) -> None:
    """Overwrite the header; size and time of the file stay."""
    rewrite(path, bytes(HEADER_BYTES))


def mend_sound(path: Path) -> None:
    """Undo `break_sound`: the file looks unchanged from outside, like one that could not be read for a while."""
    rewrite(path, path.with_suffix(".header").read_bytes())


def rewrite(path: Path, header: bytes) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        kept = file.read(HEADER_BYTES)
        file.seek(0)
        file.write(header)
    path.with_suffix(".header").write_bytes(kept)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def make_texts(folder: Path, num_clips: int) -> ChaosCorpus:
    """Sentences only."""
    folder.mkdir(parents=True)
    rows = [{"clip_id": f"text{number:05d}", "text": f"sentence {number} {WORDS[number % len(WORDS)]}"} for number in range(num_clips)]
    write_rows(folder / "manifest.parquet", rows)
    return ChaosCorpus(folder, frozenset(row["clip_id"] for row in rows), frozenset())


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = {name: [row.get(name) for row in rows] for name in MANIFEST_SCHEMA.names}
    table = pa.table([pa.array(columns[field.name], field.type) for field in MANIFEST_SCHEMA], schema=MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts(CORPUS, (), str(path.parent))), path)


def write_sound(path: Path, duration_s: float, seed: int) -> None:
    """A gliding tone with noise, 16 bits."""
    time_T = np.arange(int(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise_T = np.random.default_rng(seed).normal(0, 0.02, len(time_T))
    samples_T = 0.4 * np.sin(2 * np.pi * (120 + seed % 80 + 60 * time_T) * time_T) + noise_T
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE_HZ)
        sound.writeframes((samples_T.clip(-1, 1) * 32767).astype("<i2").tobytes())
