import os

from mer_ray.core.artefacts import hardware, num_cores


def test_cores_are_those_of_the_process(monkeypatch):
    assert num_cores() == hardware()["cores"] >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert num_cores() == (os.cpu_count() or 1)
