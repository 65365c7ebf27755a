from pathlib import Path

import pytest

from mer_ray.corpora.paths import absolute_root, name_of, parent_of, relative_to_root, why_linked_outside, why_outside


@pytest.mark.parametrize(
    ("path", "root", "relative"),
    [
        ("/data/x/a.wav", "/data", "x/a.wav"),
        ("/data2/a.wav", "/data", "/data2/a.wav"),
        ("/data/../etc/a.wav", "/data", "/data/../etc/a.wav"),
        ("x/a.wav", "/data", "x/a.wav"),
        ("/data/a.wav", "/", "data/a.wav"),
        ("s3://b/x/a.wav", "s3://b/x", "a.wav"),
        ("s3://b/xy/a.wav", "s3://b/x", "s3://b/xy/a.wav"),
        ("/data/a.wav", "s3://b/x", "/data/a.wav"),
    ],
)
def test_paths_below_the_root_become_relative(path: str, root: str, relative: str):
    assert relative_to_root(path, root) == relative


@pytest.mark.parametrize(
    ("path", "root", "why"),
    [
        ("../a.wav", "/data", "'..'"),
        ("x/../../a.wav", "/data", "'..'"),
        ("/data2/a.wav", "/data", "absolute"),
        ("/a.wav", "s3://b/x", "absolute"),
        ("x/../a.wav", "s3://b/x", "'..'"),
        ("s3://other/a.wav", "s3://b/x", "URL"),
        ("http://host/a.wav", "/data", "URL"),
        ("a\x00.wav", "/data", "NUL"),
    ],
)
def test_paths_that_leave_the_root_say_how(path: str, root: str, why: str):
    assert why in str(why_outside(path, root))


@pytest.mark.parametrize("path", ["a.wav", "x/../a.wav", "..a.wav", "x/..a/b.wav", "ä b/ü.wav"])
def test_paths_inside_the_root_are_fine(path: str):
    assert why_outside(path, "/data") is None


def test_links_are_followed_to_where_they_lead(tmp_path: Path):
    (tmp_path / "root" / "real").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "root" / "inside").symlink_to(tmp_path / "root" / "real")
    (tmp_path / "root" / "outside").symlink_to(tmp_path / "secret")
    root = str(tmp_path / "root")
    assert why_linked_outside("inside/a.wav", root) is None
    assert str(tmp_path / "secret") in str(why_linked_outside("outside/a.wav", root))
    # A root that is a link itself holds what it leads to.
    (tmp_path / "alias").symlink_to(tmp_path / "root")
    assert why_linked_outside("real/a.wav", str(tmp_path / "alias")) is None


def test_roots_do_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_root("x/") == str(tmp_path / "x")
    assert absolute_root("s3://b/x/") == "s3://b/x"
    assert (parent_of("clips.csv"), parent_of("s3://b/x/clips.csv")) == (str(tmp_path), "s3://b/x")
    assert (name_of("."), name_of("s3://b/x/")) == (tmp_path.name, "x")
