"""What the chaos tests share: a Ray that they may hurt, a corpus, and the store of an undisturbed extraction of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_corpus import ChaosCorpus, make_corpus
from chaos_processes import Zygote, ray_head, zygote
from chaos_verbs import NUM_TRIALS, long_search, read_finished, search_here
from training_corpus import TrainingCorpus
from training_corpus import make_corpus as make_training_corpus

NUM_CLIPS = 160


@pytest.fixture(scope="session")
def chaos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="session")
def head(chaos_folder: Path) -> Iterator[tuple[str, int]]:
    """Address of a Ray of these tests' own, and the pid above its processes."""
    with ray_head(chaos_folder) as found:
        yield found


@pytest.fixture(scope="session")
def drivers(head: tuple[str, int], chaos_folder: Path) -> Iterator[Zygote]:
    with zygote(head[0], chaos_folder) as forking:
        yield forking


@pytest.fixture(scope="session")
def corpus(chaos_folder: Path) -> ChaosCorpus:
    return make_corpus(chaos_folder / "corpus", NUM_CLIPS, seed=7)


@pytest.fixture(scope="session")
def reference(corpus: ChaosCorpus, drivers: Zygote, chaos_folder: Path) -> Path:
    """The store of an extraction that nothing disturbed."""
    store = chaos_folder / "reference"
    drivers.run(corpus.config(store, num_actors=2))
    return store


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    return make_training_corpus(tmp_path_factory.mktemp("searched"), noise=1.5)


@pytest.fixture(scope="session")
def undisturbed_trials(searched: TrainingCorpus) -> list[tuple[str, str]]:
    """Parameters and scores of a search that nothing disturbed."""
    config = long_search(searched, "undisturbed")
    search_here(config)
    found = read_finished(config)
    assert len(found) == NUM_TRIALS
    return found
