from pathlib import Path

import pytest
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.training import train


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    """A planted corpus whose `runs/folds` has four folds and two seeds, and `runs/splits` one model."""
    made = make_corpus(tmp_path_factory.mktemp("prediction"), num_clips=48)
    train(made.config("runs/folds", seeds=[0, 1], epochs=4))
    train(made.config("runs/splits", protocol={"name": "splits"}, epochs=4))
    return made


@pytest.fixture(scope="session")
def folds_bundle(corpus: TrainingCorpus) -> Path:
    """The bundle of eight models."""
    return corpus.folder / "runs" / "folds" / "bundle"


@pytest.fixture(scope="session")
def splits_bundle(corpus: TrainingCorpus) -> Path:
    """The bundle of one model."""
    return corpus.folder / "runs" / "splits" / "bundle"
