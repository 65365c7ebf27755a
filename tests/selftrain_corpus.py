"""A small corpus for tests of self-training: planted features, and an unlabelled part with other shares of classes."""

import dataclasses
from pathlib import Path
from typing import Any

from mer_ray.core.config import parse_config
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.synth import synthesise
from mer_ray.selftraining.config import SelftrainConfig

RIGHT = {"confusion": 0.1, "noise": 0.05, "missing": 0.0}


@dataclasses.dataclass(frozen=True)
class Shifted:
    """A corpus whose unlabelled part has other shares of classes."""

    folder: Path

    def config(self, out: Path, train: dict[str, Any] | None = None, **changes: Any) -> SelftrainConfig:
        """Two teachers of one seed that train in a moment."""
        training = {
            "manifest": self.folder / "manifest.parquet",
            "store": str(self.folder / "store"),
            "inputs": [{"encoder": f"planted_{modality}"} for modality in ("audio", "vision")],
            "model": {"name": "attention", "hidden": 16},
            "protocol": {"name": "splits", "test": ["test", "target"]},
            "epochs": 15,
            "batch_size": 32,
            "learning_rate": 1e-2,
            "class_weights": "balanced",
            "device": "cpu",
        }
        values = {
            "out": out,
            "train": training | (train or {}),
            "truth": self.folder / "latents.parquet",
            "teachers": [{"name": "both"}, {"name": "late", "changes": {"model.name": "late_fusion"}}],
            "selection": {"threshold": 0.6},
            "max_rounds": 1,
        }
        return parse_config(SelftrainConfig, values | changes, "test")


def make_shifted(folder: Path) -> Shifted:
    """Write it."""
    synthesise(
        SynthConfig.model_validate(
            {
                "out": folder,
                "num_clips": 240,
                "num_unlabelled": 240,
                "num_speakers": 12,
                "audio": RIGHT,
                "vision": RIGHT,
                "text": RIGHT,
                "unlabelled_priors": {"neutral": 1, "angry": 1, "happy": 1, "sad": 3, "worried": 3, "surprise": 1},
                "features": {
                    "num_folds": None,
                    "num_layers": 1,
                    "dim": 16,
                    "peak_layers": {"audio": 0, "vision": 0, "text": 0},
                    "splits": {"train": 100, "dev": 80, "test": 60},
                    "unlabelled_splits": {"unlabelled": 160, "target": 80},
                },
            }
        )
    )
    return Shifted(folder)
