"""A small synthetic corpus of real media, its features, and a bundle trained on them, for tests of prediction."""

from dataclasses import dataclass
from pathlib import Path

from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.config import ExtractConfig
from mer_ray.extraction.extract import extract
from mer_ray.extraction.manifest import ManifestConfig, build_manifest
from mer_ray.extraction.synth import synthesise
from mer_ray.training import TrainConfig, train

NUM_CLIPS = 30


@dataclass(frozen=True)
class TrainedMedia:
    """`clips` are .mp4 files with sound and pictures, some with one of them only."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.parquet"

    @property
    def store(self) -> str:
        return str(self.folder / "store")

    @property
    def bundle(self) -> Path:
        return self.folder / "run" / "bundle"

    @property
    def clips(self) -> list[Path]:
        return sorted((self.folder / "corpus" / "clips").glob("*.mp4"))


def make_trained_media(folder: Path) -> TrainedMedia:
    made = TrainedMedia(folder)
    priors = dict.fromkeys(("neutral", "angry", "happy", "sad", "worried", "surprise"), 1.0)
    synthesise(SynthConfig(out=folder / "corpus", num_clips=NUM_CLIPS, num_speakers=6, duration_s=(1.0, 1.4), size=64, class_priors=priors))
    corpus = {"name": "table", "path": str(folder / "corpus" / "clips.csv"), "corpus_name": "synthetic"}
    corpus |= {"classes": list(priors), "value_ranges": {"valence": [-5, 5]}}
    build_manifest(ManifestConfig.model_validate({"corpus": corpus, "out": made.manifest, "folds": {"name": "leave_one_speaker_out"}}))
    encoders = [{"name": "spectral"}, {"name": "gradient"}, {"name": "hashing"}]
    extract(ExtractConfig.model_validate({"manifest": made.manifest, "store": made.store, "encoders": encoders}))
    inputs = [
        {"encoder": "spectral", "layers": ["modulation", "energy"], "statistics": ["mean"]},
        {"encoder": "gradient", "layers": ["hog_middle"], "statistics": ["mean", "std"]},
        {"encoder": "hashing", "layers": ["word_1_256"], "statistics": ["mean"]},
    ]
    config = {"manifest": made.manifest, "store": made.store, "out": folder / "run", "inputs": inputs, "values": ["valence"], "epochs": 4}
    train(TrainConfig.model_validate(config))
    return made
