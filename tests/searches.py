"""Small searches over the corpus of the training tests."""

from typing import Any

from training_corpus import TrainingCorpus

from mer_ray.tuning.config import TuneConfig

SEARCHED = {
    "learning_rate": {"search": "float", "low": 1e-3, "high": 5e-2, "log": True},
    "model": {
        "search": "choice",
        "of": [{"name": "attention", "hidden": {"search": "int", "low": 8, "high": 16}}, {"name": "early_fusion", "hidden": 8}],
    },
    "inputs": [{"encoder": "tone", "layers": {"search": "subset", "of": ["low", "high"]}}, {"encoder": "face"}],
}


def search_config(corpus: TrainingCorpus, out: str = "search", train: dict[str, Any] | None = None, **changes: Any) -> TuneConfig:
    """A search whose trials train in a moment, fold 0 left out."""
    plain = {
        "manifest": str(corpus.folder / "manifest.parquet"),
        "store": str(corpus.folder / "store"),
        "protocol": {"name": "folds", "test_folds": [0]},
        "values": ["valence"],
        "epochs": 3,
        "batch_size": 16,
        "device": "cpu",
    }
    values = {
        "out": corpus.folder / out,
        "train": {**plain, **SEARCHED, **(train or {})},
        "final_seeds": [0, 1],
        "finalists": 2,
        "budget": {"trials": 6},
    }
    return TuneConfig.model_validate(values | changes)
