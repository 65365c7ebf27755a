from pathlib import Path

import pytest

from mer_ray.core.errors import MediaError
from mer_ray.decoders.remote import is_remote, local_copy


def test_local_paths_pass_through(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "clip.mp4")) as path:
        assert path == str(tmp_path / "clip.mp4")


@pytest.mark.parametrize("path", ["/data/a.mp4", "a.mp4", "10:30.mp4", "C:a.mp4", "/data/http://odd/a.mp4"])
def test_paths(path: str) -> None:
    assert not is_remote(path)


def test_urls() -> None:
    assert is_remote("s3://bucket/a.mp4")
    for url in ("http://host/a.mp4", "https://host/a.mp4", "ftp://host/a.mp4", "file:///a.mp4"):
        with pytest.raises(MediaError, match=r"media is read from folders and from s3://, not from "):
            is_remote(url)
