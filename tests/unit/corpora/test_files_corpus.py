import os
from pathlib import Path
from typing import Any

import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ManifestError
from mer_ray.corpora.faults import write_faults
from mer_ray.corpora.files import FilesCorpus, FilesCorpusConfig


def corpus_of(folder: Path, *names: str, **options: Any) -> FilesCorpus:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return parse_config(FilesCorpusConfig, {"name": "files", "path": str(folder), **options}, "corpus").build()


def test_every_media_file_below_the_folder_is_an_unlabelled_clip(tmp_path: Path):
    corpus = corpus_of(tmp_path, "b.MP4", "x/y/ä b.wav", "notes.txt", ".hidden.mp4", "x/._b.mp4", ".cache/c.wav")
    scan = corpus.scan()
    assert list(scan.faults) == []
    assert scan.table.select(["clip_id", "path", "split", "emotion"]).to_pylist() == [
        {"clip_id": "b", "path": "b.MP4", "split": "unlabelled", "emotion": None},
        {"clip_id": "x/y/ä b", "path": "x/y/ä b.wav", "split": "unlabelled", "emotion": None},
    ]
    assert (corpus.facts().corpus, corpus.facts().root, corpus.facts().classes) == (tmp_path.name, str(tmp_path), ())


def test_what_systems_leave_behind_is_no_file_of_the_corpus(tmp_path: Path):
    scan = corpus_of(tmp_path, "a.wav", "Thumbs.db", "desktop.ini", "__MACOSX/b.wav", "x/@eaDir/a.wav/c.mp4").scan()
    assert (scan.table["path"].to_pylist(), list(scan.faults)) == (["a.wav"], [])


def test_a_name_that_is_not_utf8_is_a_fault_that_can_be_printed_and_stored(tmp_path: Path):
    corpus = corpus_of(tmp_path, "a.wav")
    for name in (b"caf\xe9.wav", b"\xcb\xb5\xc3\xf7.txt"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).touch()
    scan = corpus.scan()
    assert scan.table["path"].to_pylist() == ["a.wav"]
    assert [fault.what for fault in scan.faults] == ["'caf\\\\udce9.wav' has a name that is not UTF-8; rename it"]
    write_faults(scan.faults, tmp_path / "faults.csv")
    assert "caf" in (tmp_path / "faults.csv").read_text(encoding="utf-8")


def test_media_that_is_not_read_is_reported_unless_suffixes_are_chosen(tmp_path: Path):
    names = ("a.mp4", "b.mpg")
    (fault,) = corpus_of(tmp_path, *names).scan().faults
    assert (fault.row, fault.clip_id, fault.what) == (2, "b", "'b.mpg' is of a kind that is not read")
    scan = corpus_of(tmp_path, *names, suffixes=[".mp4"]).scan()
    assert (scan.table.num_rows, list(scan.faults)) == (1, [])


def test_linked_folders_are_reported_not_followed(tmp_path: Path):
    corpus = corpus_of(tmp_path, "x/a.wav")
    (tmp_path / "x" / "circle").symlink_to(tmp_path)
    scan = corpus.scan()
    assert scan.table["path"].to_pylist() == ["x/a.wav"]
    assert [str(fault) for fault in scan.faults] == [
        "row 2, path: 'x/circle' is a symbolic link to a folder, which is not followed; put the folder itself there; "
        "allowed: folders; or the corpus `table`"
    ]


def test_a_folder_without_permission_is_reported(folder_without_root_rights: Path):
    scan = corpus_of(folder_without_root_rights).scan()
    assert scan.table["path"].to_pylist() == ["closed.wav", "open.wav"]
    assert [str(fault) for fault in scan.faults] == [
        "row 1, path: 'closed' cannot be listed: Permission denied; allowed: folders; or the corpus `table`"
    ]


def test_a_folder_without_media_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"no media file below it; allowed: files ending in \.mp4"):
        corpus_of(tmp_path, "notes.txt").scan()


def test_a_missing_folder_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ManifestError, match="no such folder; correct `path`"):
        corpus_of(tmp_path / "none").scan()
