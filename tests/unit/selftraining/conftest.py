import numpy as np
import pytest
import torch
from selftrain_corpus import Shifted, make_shifted

from mer_ray.selftraining.fitted import fit_in_memory
from mer_ray.training.communicator import Communicator
from mer_ray.training.worker import make_worker


@pytest.fixture(scope="session")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Shifted:
    return make_shifted(tmp_path_factory.mktemp("shifted"))


@pytest.fixture
def in_memory():
    """Trains without a folder."""
    return fit_in_memory(lambda config, data: make_worker(config, data, Communicator(), torch.device("cpu")))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)
