import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def folder_without_root_rights() -> Iterator[Path]:
    """A folder that others may read; root, whom no permission stops, is nobody while the test runs and makes no files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "open.wav").write_bytes(b"1")
        (folder / "closed.wav").write_bytes(b"1")
        (folder / "closed").mkdir(mode=0)
        (folder / "closed.wav").chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            (folder / "closed").chmod(0o700)
