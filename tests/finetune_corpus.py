"""A small corpus whose media show its labels, and small random encoders to fine-tune on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from media_factory import write_media

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.finetuning.config import FinetuneConfig

CLASSES = ("neutral", "angry", "happy")
SENTENCES = ("so do that", "why would you", "i told you so !")
NUM_CLIPS, NUM_FOLDS = 24, 3


@dataclass(frozen=True)
class FinetuneCorpus:
    """Where the manifest lies, and its rows."""

    folder: Path
    rows: list[dict[str, Any]]

    def config(self, out: str, encoder: dict[str, Any], **changes: Any) -> FinetuneConfig:
        """A config that fine-tunes in a moment."""
        values = {
            "manifest": self.folder / "manifest.parquet",
            "out": self.folder / out,
            "encoder": encoder,
            "method": {"name": "lora", "rank": 4, "dropout": 0.0},
            "epochs": 3,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "head_learning_rate": 1e-2,
            "head_dropout": 0.0,
            "device": "cpu",
        }
        return FinetuneConfig.model_validate(values | changes)


def make_corpus(
    folder: Path, *, num_clips: int = 24, media: bool = True, change: dict[int, dict[str, Any]] | None = None
) -> FinetuneCorpus:
    """Clips of half a second: the class is the pitch of a tone, the colour of the pictures and the sentence; speakers are folds.

    `change` alters rows of the manifest, not the media.
    """
    rows = []
    for number in range(NUM_CLIPS):
        label, fold = number % len(CLASSES), number // len(CLASSES) % NUM_FOLDS
        path = folder / "media" / f"{number}.mkv"
        if media:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_clip(path, label, number)
        rows.append(
            dict.fromkeys(MANIFEST_SCHEMA.names)
            | {"clip_id": f"clip{number:02d}", "path": str(path) if media else None, "speaker_id": f"speaker{fold}", "fold": fold}
            | {"split": ("train", "train", "train", "dev", "test")[number % 5], "emotion": CLASSES[label], "text": SENTENCES[label]}
            | {"valence": float(label - 1), "duration_s": 0.5}
        )
    for number, changes in (change or {}).items():
        rows[number] |= changes
    facts = ManifestFacts(corpus="tiny", classes=CLASSES, root="/", value_ranges={"valence": (-5.0, 5.0)})
    write_manifest(Manifest(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), facts), folder / "manifest.parquet")
    return FinetuneCorpus(folder, rows)


def _write_clip(path: Path, label: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    times_S = np.arange(8000) / 16000
    sound_S = 0.3 * np.sin(2 * np.pi * (200, 500, 1200)[label] * times_S) + 0.02 * random.standard_normal(8000)
    images = np.clip(random.normal(60, 20, (5, 64, 64, 3)), 0, 255)
    images[..., label] += 120
    write_media(path, np.clip(images, 0, 255).astype(np.uint8), sound_S[None].astype(np.float32), fps=10, audio_codec="pcm_s16le")
