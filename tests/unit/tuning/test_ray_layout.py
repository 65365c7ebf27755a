from pathlib import Path
from typing import Any

import pytest
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.core.errors import ClusterError, ConfigError
from mer_ray.core.ray_machines import ClusterSize
from mer_ray.tuning import ray_layout
from mer_ray.tuning.config import TuneConfig


def config_of(folder: Path, device: str, num_workers: int, **changes: Any) -> TuneConfig:
    return search_config(TrainingCorpus(folder, []), train={"device": device, "num_workers": num_workers}, **changes)


@pytest.mark.parametrize(
    ("num_gpus", "num_workers", "num_at_once", "gpus_paid"),
    [(0, 1, 8, 0), (2, 1, 8, 2), (0, 2, 4, 0), (1, 2, 4, 0), (4, 2, 2, 4), (5, 2, 2, 5)],
)
def test_as_many_trials_run_as_the_cluster_holds(num_gpus, num_workers, num_at_once, gpus_paid, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_layout, "size_at_most", lambda: ClusterSize(8, num_gpus, 2.0**33))

    layout = ray_layout.choose_layout(config_of(tmp_path, "auto", num_workers), use_gpu=True)

    assert (layout.num_at_once, layout.num_gpus) == (num_at_once, gpus_paid)
    # What leads a group takes none of what its workers need.
    assert (layout.cpus, layout.gpus) == ((1, 1 / 4 if num_gpus else 0) if num_workers == 1 else (0, 0))


@pytest.mark.parametrize(
    ("device", "num_workers", "changes", "error", "said"),
    [
        ("cuda", 2, {}, ClusterError, "train.device: cuda, but the Ray cluster has 1 GPUs for 2 workers of a trial"),
        ("cpu", 9, {}, ClusterError, "train.num_workers: 9 workers of a trial need a CPU each, and the Ray cluster has 8"),
        ("auto", 2, {"budget": {"usd": 1.0}, "price_per_gpu_hour": 2.0}, ConfigError, "budget.usd: is for GPUs, and trials have none here"),
    ],
)
def test_what_the_cluster_cannot_give_is_refused(device, num_workers, changes, error, said, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_layout, "size_at_most", lambda: ClusterSize(8, 1, 2.0**33))

    with pytest.raises(error) as caught:
        ray_layout.choose_layout(config_of(tmp_path, device, num_workers, **changes), use_gpu=device != "cpu")
    assert str(caught.value).startswith(said)
