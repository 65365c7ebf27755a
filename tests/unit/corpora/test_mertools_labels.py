import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.corpora import mertools_labels
from mer_ray.corpora.mertools_labels import Label, read_labels


def save_labels(path: Path, **splits) -> Path:
    """As MERTools does."""
    np.savez_compressed(path, **{f"{name}_corpus": entries for name, entries in splits.items()})
    return path


def save_member(path: Path, content: bytes, header: dict | None = None) -> Path:
    """A .npz whose train_corpus holds these bytes behind a header of numpy's."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header or {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_corpus.npy", stream.getvalue() + content)
    return path


def test_labels_come_in_the_files_order_and_unknown_valence_is_none(tmp_path: Path):
    path = save_labels(
        tmp_path / "label-6way.npz",
        train={
            "b": {"emo": "angry", "val": -2.5},
            "a": {"emo": "happy", "val": np.float64(1.0)},
            "c": {"emo": "sad", "val": float("nan")},
        },
        test1={"d": {"emo": "worried", "val": -10}, "e": {"emo": "neutral", "val": ""}},
        test3={"samplenew_00006611": {"emo": "sad"}},
    )
    found = read_labels(path)
    assert found.labels == [
        Label(1, "b", "train", "angry", -2.5),
        Label(2, "a", "train", "happy", 1.0),
        Label(3, "c", "train", "sad", None),
        Label(4, "d", "test1", "worried", None),
        Label(5, "e", "test1", "neutral", None),
        Label(6, "samplenew_00006611", "test3", "sad", None),
    ]
    assert found.faults == [] and found.unlabelled_splits == ()


def test_a_test_split_of_placeholders_is_unlabelled(tmp_path: Path):
    neutral = {"emo": "neutral", "val": -10}
    found = read_labels(
        save_labels(
            tmp_path / "l.npz", train={"a": neutral}, test1={"b": neutral, "c": neutral}, test2={"d": {"emo": "neutral", "val": 0.0}}
        )
    )
    assert found.unlabelled_splits == ("test1",)
    assert [label.emotion for label in found.labels] == ["neutral", None, None, "neutral"]


def test_a_file_of_an_old_numpy_is_read(tmp_path: Path):
    """The published file is a pickle of protocol 3 that names numpy.core."""
    content = pickle.dumps(np.array({"a": {"emo": "sad", "val": 1.5}}, dtype=object), protocol=3)
    assert b"numpy._core" in content
    path = save_member(tmp_path / "l.npz", content.replace(b"numpy._core", b"numpy.core"))
    assert read_labels(path).labels == [Label(1, "a", "train", "sad", 1.5)]


class Command:
    def __init__(self, call, *arguments) -> None:
        self.made = (call, arguments)

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("call", [os.system, eval, exec])
def test_a_file_that_would_run_code_is_refused_and_nothing_runs(tmp_path: Path, call, protocol: int):
    sign = tmp_path / "it-ran"
    text = f"touch {sign}" if call is os.system else f"open({str(sign)!r}, 'w').close()"
    hostile = {"a": {"emo": "sad", "val": Command(call, text)}}
    path = save_member(tmp_path / "l.npz", pickle.dumps(np.array(hostile, dtype=object), protocol=protocol))
    with pytest.raises(ManifestError, match=r"l.npz: train_corpus: the pickle names .*(system|eval|exec)"):
        read_labels(path)
    assert not sign.exists()


def test_objects_of_unknown_classes_are_faults(tmp_path: Path):
    path = save_labels(
        tmp_path / "l.npz", train={"a": {"emo": "sad", "val": Path("x")}, "b": {"emo": Path("y")}, "c": {"emo": "sad", "val": 0}}
    )
    found = read_labels(path)
    assert [(fault.row, fault.clip_id, fault.column) for fault in found.faults] == [(1, "a", "valence"), (2, "b", "emotion")]
    assert [label.name for label in found.labels] == ["c"]


@pytest.mark.parametrize("name", ["../outside", "/etc/x", ".hidden", "", 7, "a\0b", "\ud800", "x" * 300])
def test_names_that_are_no_file_names_are_faults(tmp_path: Path, name):
    found = read_labels(save_labels(tmp_path / "l.npz", train={name: {"emo": "sad", "val": 0.0}}))
    assert found.labels == [] and len(found.faults) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "not a .npz file that can be read"),
        ({"test1": {}}, "lacks train_corpus.npy .it holds test1_corpus.npy."),
        ({"train": [1, 2]}, r"is an array \(2,\) of int64, not a table of labels"),
        ({"train": np.array([{}, {}], dtype=object)}, r"is an array \(2,\) of object"),
        ({"train": np.array(["x", None], dtype=object)[1:].reshape(())}, "holds NoneType instead of a dict"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content, message: str):
    path = tmp_path / "label-6way.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_labels(path, **content)
    with pytest.raises(ManifestError, match=message):
        read_labels(path)


def test_a_damaged_file_is_named(tmp_path: Path):
    path = save_labels(tmp_path / "l.npz", train={f"clip{number}": {"emo": "sad", "val": float(number)} for number in range(50)})
    content = bytearray(path.read_bytes())
    for position in range(60, 200):
        content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=r"l\.npz"):
        read_labels(path)


def test_a_key_as_deep_as_it_likes_is_a_fault(tmp_path: Path):
    found = read_labels(save_member(tmp_path / "label-6way.npz", b"\x80\x02})" + b"\x85" * 20_000 + b"Ns."))
    assert found.labels == []
    assert "a tuple has no entry" in found.faults[0].what


def test_a_number_beyond_all_bounds_is_no_valence_of_the_corpus(tmp_path: Path):
    path = save_labels(tmp_path / "label-6way.npz", train={"a": {"emo": "sad", "val": 10**400}})
    assert read_labels(path).labels[0].valence == float("inf")


def test_a_file_that_unpacks_without_end_is_not_unpacked(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(mertools_labels, "MAX_MEMBER_BYTES", 1000)
    path = save_member(tmp_path / "l.npz", bytes(2000))
    with pytest.raises(ManifestError, match=r"unpacks to \d+ bytes; at most 1000 are read"):
        read_labels(path)
