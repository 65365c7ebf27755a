from pathlib import Path

import pytest
from training_corpus import TrainingCorpus, make_corpus


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


@pytest.fixture
def corpus(corpus_folder, tmp_path) -> TrainingCorpus:
    """The shared corpus; runs go to a folder of their own."""
    for name in ("manifest.parquet", "store"):
        (tmp_path / name).symlink_to(corpus_folder / name)
    return TrainingCorpus(tmp_path, [])
