from pathlib import Path

import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.corpus_files import listing_faults, name_some, nearest_to_root, read_files, rows_to_table, split_lines
from mer_ray.corpora.listing import NOT_UTF8, Listed


def test_the_nearest_file_of_a_name_counts():
    found = [Listed("a/b/labels.txt"), Listed("a/labels.txt"), Listed("labels.txt", "is a link"), Listed("other.txt")]
    assert nearest_to_root(found, ("labels.txt", "label.txt")) == "a/labels.txt"
    assert nearest_to_root(found, ("none.txt",)) is None
    with pytest.raises(ManifestError, match=r"a/labels.txt and c/labels.txt: only one of them"):
        nearest_to_root([*found, Listed("c/labels.txt")], ("labels.txt",))


def test_files_are_read_in_order_whatever_their_names(tmp_path: Path):
    root = tmp_path / "corpus [2]*"
    root.mkdir()
    for name in ("b[1].txt", "a?.txt"):
        (root / name).write_text(name, encoding="utf-8")
    assert list(read_files(str(root), ["b[1].txt", "a?.txt"]).items()) == [("b[1].txt", b"b[1].txt"), ("a?.txt", b"a?.txt")]
    assert read_files(str(root), []) == {}
    with pytest.raises(ManifestError, match="a file of labels or words cannot be read"):
        read_files(str(root), ["gone.txt"])


def test_lines_end_where_text_files_do_and_nowhere_else():
    # A next-line sign and a line separator can stand in a sentence.
    assert split_lines("x", "\ufeffone\r\ntwo\rthree\x85\u2028still\n".encode()) == ["one", "two", "three\x85\u2028still", ""]
    with pytest.raises(ManifestError, match=r"words.txt: line 2 is not UTF-8"):
        split_lines("words.txt", b"one\ncaf\xe9")


def test_rows_become_a_table_of_all_columns():
    table = rows_to_table([{"clip_id": "a", "valence": 1.5}, {"clip_id": "b", "fold": 2}])
    assert table.select(["clip_id", "valence", "fold", "text"]).to_pylist() == [
        {"clip_id": "a", "valence": 1.5, "fold": None, "text": None},
        {"clip_id": "b", "valence": None, "fold": 2, "text": None},
    ]


def test_folders_that_were_not_followed_are_faults_and_notes_name_some():
    faults = listing_faults([Listed("a.wav"), Listed("b", "cannot be listed"), Listed("c", "is a link"), Listed("d", NOT_UTF8)])
    assert [(fault.row, fault.what) for fault in faults] == [(1, "'b' cannot be listed"), (2, "'c' is a link")]
    assert name_some({"d", "a", "c", "b", "e"}) == "a, b, c and 2 more"
    assert name_some(["b", "a"]) == "a, b"
