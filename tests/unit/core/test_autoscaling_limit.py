import pytest

from mer_ray.core import ray_machines
from mer_ray.core.errors import ClusterError
from mer_ray.core.ray_machines import AUTOSCALES_TO, ClusterSize, autoscaling_limit, size_at_most


@pytest.fixture
def now(monkeypatch):
    def set_to(**resources):
        monkeypatch.setattr(ray_machines.ray, "cluster_resources", lambda: resources)

    return set_to


def test_without_an_autoscaler_a_cluster_is_what_is_there(now, monkeypatch):
    monkeypatch.delenv(AUTOSCALES_TO, raising=False)
    now(CPU=4.0, GPU=1.0, memory=8e9)

    assert autoscaling_limit() is None
    assert size_at_most() == ClusterSize(4, 1.0, 8e9)


def test_machines_that_may_come_count_and_their_memory_is_taken_from_those_that_are_there(now, monkeypatch):
    monkeypatch.setenv(AUTOSCALES_TO, '{"CPU": 16, "GPU": 4}')
    now(CPU=4.0, memory=8e9)

    assert size_at_most() == ClusterSize(16, 4.0, 32e9)


def test_from_no_machine_at_all_the_memory_is_what_the_head_has_or_what_is_told(now, monkeypatch):
    monkeypatch.setenv(AUTOSCALES_TO, '{"CPU": 16, "GPU": 4}')
    now(memory=8e9)
    assert size_at_most() == ClusterSize(16, 4.0, 8e9)

    monkeypatch.setenv(AUTOSCALES_TO, '{"CPU": 16, "memory": 64e9}')
    assert size_at_most() == ClusterSize(16, 0.0, 64e9)


@pytest.mark.parametrize("text", ["16", "CPU=16", '{"cpus": 16}', '{"GPU": "four"}', '{"GPU": -1}', "{}", '{"GPU": true}'])
def test_a_limit_that_cannot_be_read_is_refused(monkeypatch, text):
    monkeypatch.setenv(AUTOSCALES_TO, text)

    with pytest.raises(ClusterError, match=AUTOSCALES_TO):
        autoscaling_limit()
