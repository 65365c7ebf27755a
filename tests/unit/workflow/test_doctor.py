from pathlib import Path

import pytest

from mer_ray.workflow.doctor import examine


def test_it_names_versions_hardware_and_the_absent_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    table, well = examine(tmp_path)
    found = {what: value for _, what, value in table.rows}
    assert well
    assert found["ray"] == "2.60.0"
    assert "cores usable" in found["processor"]
    assert "GiB free" in found["disk"]
    assert "RAY_ADDRESS is not set" in found["Ray"]
    assert any(what.startswith("GPU") for what in found)
