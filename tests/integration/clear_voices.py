"""Synthetic clips whose voices tell the emotion for certain, with features, also of blurred pictures, and two runs, for tests of noise."""

from dataclasses import dataclass
from pathlib import Path

from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.synth import synthesise
from mer_ray.training import TrainConfig, train

NUM_CLIPS = 36
BLUR = 4.0
SPECTRAL = {"encoder": "spectral", "layers": ["energy", "pitch", "logmel", "modulation"]}
GRADIENT = {"encoder": "gradient", "layers": ["hog_middle"], "statistics": ["mean"]}


@dataclass(frozen=True)
class ClearVoices:
    """`audio` reads sound alone, `guided` sound and pictures, with a gate; both hold out speakers."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.parquet"

    @property
    def store(self) -> str:
        return str(self.folder / "store")

    def bundle(self, run: str) -> Path:
        return self.folder / "runs" / run / "bundle"


def make_clear_voices(folder: Path) -> ClearVoices:
    made = ClearVoices(folder)
    priors = dict.fromkeys(("neutral", "angry", "happy", "sad", "worried", "surprise"), 0.0) | {"angry": 1.0, "sad": 1.0, "neutral": 1.0}
    certain = {"confusion": 0.0, "noise": 0.0, "missing": 0.0}
    corpus = {"out": folder / "corpus", "num_clips": NUM_CLIPS, "num_speakers": 6, "duration_s": (1.0, 1.4), "size": 64}
    synthesise(SynthConfig.model_validate(corpus | {"audio": certain, "vision": certain, "class_priors": priors}))
    table = {"name": "table", "path": str(folder / "corpus" / "clips.csv"), "corpus_name": "voices", "classes": ["neutral", "angry", "sad"]}
    folds = {"name": "leave_one_speaker_out"}
    build_manifest(ManifestConfig.model_validate({"corpus": table, "out": made.manifest, "folds": folds}))
    encoders = [{"name": "spectral"}, {"name": "gradient"}, {"name": "gradient", "degrade": {"blur": BLUR}}]
    extract(ExtractConfig.model_validate({"manifest": made.manifest, "store": made.store, "encoders": encoders, "num_actors": 2}))
    base = {"manifest": made.manifest, "store": made.store, "batch_size": 8, "learning_rate": 3e-3}
    train(TrainConfig.model_validate(base | {"out": folder / "runs" / "audio", "inputs": [SPECTRAL], "epochs": 25}))
    model = {"name": "audio_guided", "guide": "audio", "fallback": "gate", "hidden": 16}
    train(
        TrainConfig.model_validate(base | {"out": folder / "runs" / "guided", "inputs": [SPECTRAL, GRADIENT], "model": model, "epochs": 4})
    )
    return made
