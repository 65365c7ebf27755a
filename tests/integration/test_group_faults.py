"""What becomes of a trial whose group of workers has a fault on one of them."""

from collections.abc import Iterator
from typing import Any

import pytest
import ray
import torch
from training_corpus import make_corpus

from mer_ray.core.errors import ClusterError, RunError
from mer_ray.tuning.ray_group import SharedTrials
from mer_ray.tuning.trial import TrialStep

pytestmark = pytest.mark.ray


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), RunError, r"out of memory: CUDA out of memory\. Tried"),
        (KeyError("a fault of the program"), ClusterError, "KeyError: 'a fault of the program'"),
    ],
    ids=["memory", "program"],
)
def test_a_fault_on_one_worker_ends_the_group_and_is_told(fault, error, said, ray_cluster, tmp_path):
    class Faulty:
        """Trials whose second worker fails while the first waits for it."""

        def training(self, drawn: Any) -> Any:
            return drawn

        def run(self, drawn: Any, communicator: Any, device: Any) -> Iterator[TrialStep]:
            if not communicator.is_main:
                raise fault
            yield TrialStep(1, 2, {"weighted_f1": 0.5})

    config = make_corpus(tmp_path / "corpus").config(num_workers=2)
    trials = SharedTrials(ray.put(Faulty()), tmp_path / "scratch")

    with pytest.raises(error, match=said):
        list(trials.run(config))
    assert not list((tmp_path / "scratch").glob("*"))
