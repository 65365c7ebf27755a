import os
from pathlib import Path

from mer_ray.corpora.stored_files import HEAD_BYTES, FileFault, find_files, group_by_content


def test_files_are_found_with_their_sizes(tmp_path: Path):
    (tmp_path / "ä b").mkdir()
    (tmp_path / "ä b" / "c.wav").write_bytes(b"12345")
    assert find_files(["ä b/c.wav"], str(tmp_path)) == {"ä b/c.wav": 5}


def test_what_is_no_file_says_why(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (root / "folder.wav").mkdir()
    (root / "link.wav").symlink_to(tmp_path / "secret.wav")
    (root / "broken.wav").symlink_to(root / "gone.wav")
    os.mkfifo(root / "pipe.wav")
    (root / "file.wav").write_bytes(b"1")
    found = find_files(["folder.wav", "link.wav", "broken.wav", "pipe.wav", "none.wav", "file.wav/x.wav"], str(root))
    assert f"files that lie in {root}; put the files themselves there" in str(found["link.wav"])
    assert {path: fault.what for path, fault in found.items() if isinstance(fault, FileFault)} == {
        "folder.wav": "is not a file",
        "link.wav": f"is a symbolic link out of the root, to {tmp_path / 'secret.wav'}",
        "broken.wav": "no such file",
        "pipe.wav": "is not a file",
        "none.wav": "no such file",
        "file.wav/x.wav": "cannot be opened: Not a directory",
    }


def test_a_file_without_permission_says_so(folder_without_root_rights: Path):
    assert find_files(["closed.wav", "open.wav"], str(folder_without_root_rights)) == {
        "closed.wav": FileFault("cannot be opened: Permission denied", "a file that may be read"),
        "open.wav": 1,
    }


def test_files_of_equal_bytes_share_a_number(tmp_path: Path):
    head = b"h" * HEAD_BYTES
    contents = {"a": head + b"1", "b": head + b"1", "c": head + b"2", "d": b"short", "e": b"trohs", "f": b"short", "g": head + b"1 longer"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    numbers = group_by_content({name: len(content) for name, content in contents.items()}, str(tmp_path), num_threads=2)
    same = {(a, b) for a in contents for b in contents if a < b and numbers[a] == numbers[b]}
    assert same == {("a", "b"), ("d", "f")}


def test_files_of_other_sizes_are_not_read(tmp_path: Path):
    # None of them exists: reading one would raise.
    assert len(set(group_by_content({"a": 1, "b": 2, "c": 3}, str(tmp_path), num_threads=2).values())) == 3
