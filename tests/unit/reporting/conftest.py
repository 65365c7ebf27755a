"""Run folders by the contract, and their tables."""

from pathlib import Path
from typing import Any

import pytest
from written_run import RunMaker, write_run


@pytest.fixture
def make_run(tmp_path: Path) -> RunMaker:
    """Write a run folder named after the run; options of `write_run`."""

    def make(name: str = "fused", **options: Any) -> Path:
        return write_run(tmp_path / name, name=name, **options)

    return make
