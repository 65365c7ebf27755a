import collections
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mer_ray.core.inert_pickle import InertObject, UnreadablePickleError, load_inert, load_inert_bytes

VALUES = {
    "nested": [1, 2.5, "x", None, True, b"\xff\x00", (1, (2,)), {"a": {"b": []}}],
    "set": {1, 2},
    "frozenset": frozenset([3]),
    "complex": 1j,
    "bytes": bytearray(b"q"),
    "ordered": collections.OrderedDict(b=1, a=2),
    "counts": collections.defaultdict(list, {"a": [1]}),
    "scalar": np.float32(2.5),
    "truth": np.bool_(True),
    "text": np.str_("hello"),
}
ARRAYS = {
    "rows": np.arange(6, dtype=np.int16).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">f4"),
    "empty": np.zeros((0, 3)),
    "one number": np.array(3.5),
    "words": np.array(["ab", "cdé"]),
    "bytes": np.array([b"x", b"yz"]),
    "objects": np.array(["name", {"emo": "happy"}, [1, 2]], dtype=object),
    "objects by column": np.asfortranarray(np.array([["a", "b"], [None, "d"]], dtype=object)),
}


class Meter:
    """What training scripts leave in a checkpoint."""

    def __init__(self, total: int) -> None:
        self.losses = np.zeros((total, 2), dtype=np.float32)


class Slotted:
    __slots__ = ("value",)


class Names(list):
    pass


class Calls:
    """Pickles as a call of what it is given."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_come_back(protocol: int) -> None:
    found = load_inert_bytes(pickle.dumps(VALUES, protocol=protocol))
    assert found == VALUES
    assert [type(found[name]) for name in ("set", "scalar", "truth")] == [set, np.float32, np.bool_]
    assert list(found["ordered"]) == ["b", "a"]
    for name, array in load_inert_bytes(pickle.dumps(ARRAYS, protocol=protocol)).items():
        expected = ARRAYS[name]
        assert np.array_equal(array, expected), name
        assert array.dtype.newbyteorder("=") == expected.dtype.newbyteorder("="), name
        assert array.flags.f_contiguous == expected.flags.f_contiguous, name


def test_strings_of_python_2_are_text(tmp_path: Path) -> None:
    file = tmp_path / "old.pkl"
    file.write_bytes(b"(dp0\nS'caf\\xe9'\np1\nc__builtin__\nset\np2\n((lp3\nI1\natp4\nRp5\ns.")
    assert load_inert(file) == {"café": {1}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_of_other_classes_are_kept_as_data(protocol: int) -> None:
    slotted = Slotted()
    slotted.value = 7
    data = [Meter(3), Names(["a", "b"])] + ([slotted] if protocol >= 2 else [])
    found = load_inert_bytes(pickle.dumps(data, protocol=protocol))
    assert all(isinstance(item, InertObject) for item in found)
    assert found[0].class_name == f"{__name__}.Meter"
    assert found[0].state["losses"].shape == (3, 2)
    assert protocol < 2 or found[1].elements == ["a", "b"]
    assert protocol < 2 or found[2].state == {"value": 7}


def test_a_call_is_kept_and_not_made() -> None:
    found = load_inert_bytes(pickle.dumps(Calls(np.linalg.norm, [3, 4])))
    assert isinstance(found, InertObject)
    assert (found.class_name, found.arguments) == ("numpy.linalg.norm", ([3, 4],))


def test_what_a_call_would_have_given_cannot_be_called() -> None:
    with pytest.raises(UnreadablePickleError, match="not callable"):
        load_inert_bytes(pickle.dumps(Calls(Path("a").joinpath, "b")))


@pytest.mark.parametrize(
    ("reducer", "name"),
    [
        (lambda path: Calls(__import__("os").system, f"touch {path}"), "system"),
        (lambda path: Calls(exec, f"open({str(path)!r}, 'w')"), "builtins.exec"),
        (lambda path: Calls(eval, f"open({str(path)!r}, 'w')"), "builtins.eval"),
        (lambda path: Calls(open, str(path), "w"), "open"),
        (lambda path: Calls(subprocess.Popen, ["touch", str(path)]), "subprocess.Popen"),
        (lambda path: Calls(__import__, "antigravity"), "builtins.__import__"),
    ],
)
def test_what_would_run_code_is_refused_by_name(reducer: object, name: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    data = pickle.dumps({"weights": [1, reducer(proof)]})  # type: ignore[operator]
    if name == "open":
        # Python's own loader does run it: the proof is one.
        pickle.loads(data)["weights"][1].close()
        assert proof.exists()
        proof.unlink()
    with pytest.raises(UnreadablePickleError, match=rf"the pickle names (\w+\.)?{name}, which runs code"):
        load_inert_bytes(data)
    assert not proof.exists()


def test_nothing_is_imported_and_nothing_runs(tmp_path: Path) -> None:
    """In a process of its own: a module that would leave a file when it is imported, and another when it is called."""
    (tmp_path / "trap_module.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\ndef run(*_):\n    Path('called').touch()\nclass Thing:\n"
        "    def __init__(self, *_):\n        Path('called').touch()\n    __setstate__ = append = __setitem__ = __init__\n"
    )
    # Called (R), built (NEWOBJ), filled (BUILD), appended to, as an instance of old (INST), and reached by a dotted name.
    payload = (
        b"\x80\x04]\x94(ctrap_module\nrun\n(S'x'\ntRctrap_module\nThing\n)\x81}S'a'\nK\x01sbctrap_module\nThing\n)\x81(K\x01e"
        b"(itrap_module\nThing\n\x8c\x0btrap_module\x8c\x0eThing.__init__\x93)Re."
    )
    script = (
        "import sys\nsys.path.insert(0, '.')\nfrom mer_ray.core.inert_pickle import load_inert_bytes\nbefore = set(sys.modules)\n"
        f"found = load_inert_bytes({payload!r})\nprint(len(found), *sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trap_module.py"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a pickle"),
        (b"hello", "not a pickle"),
        (pickle.dumps(list(range(1000)))[:-20], "not a pickle"),
        (b"\x80\x02U\x01xQ.", "refers to values outside it"),
        # State for one of our own functions, which would change it for the whole process.
        (b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__NS\x86b.", "not a pickle|sets the attribute"),
        (b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R.", "bytes without content"),
        (pickle.dumps(np.zeros(2, dtype=[("a", "f4")])), "are not read"),
    ],
)
def test_what_is_broken_is_one_clear_error(data: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.pkl"
    file.write_bytes(data)
    with pytest.raises(UnreadablePickleError, match=reason) as error:
        load_inert(file)
    assert "broken.pkl" in str(error.value)


def test_an_array_of_objects_takes_no_pointers_from_a_pickle() -> None:
    """Bytes in the place of objects would be read as addresses of memory."""
    honest = pickle.dumps(np.zeros(1, dtype=np.int64), protocol=2)
    forged = honest.replace(b"i8", b"O8")
    assert forged != honest
    with pytest.raises(UnreadablePickleError, match="without a list"):
        load_inert_bytes(forged)


def _name(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


BYTES_DTYPE = _name("numpy", "dtype") + b"(X\x02\x00\x00\x00u1\x89\x88tR"


def test_an_array_is_filled_once() -> None:
    """A second time would free the memory to which rows that were taken from the array before still point."""
    array = _name("numpy.core.multiarray", "_reconstruct") + b")Rq\x01"
    two_rows = b"(K\x01K\x02K\x04\x86" + BYTES_DTYPE + b"\x89C\x08AAAABBBBtb"
    rows = _name("builtins", "list") + b"h\x01\x85R"
    again = b"h\x01(K\x01K\x01\x85" + BYTES_DTYPE + b"\x89C\x01Ctb"
    assert [bytes(row) for row in load_inert_bytes(b"\x80\x03(" + array + two_rows + rows + b"t.")[1]] == [b"AAAA", b"BBBB"]
    with pytest.raises(UnreadablePickleError, match="fills a numpy array twice"):
        load_inert_bytes(b"\x80\x03(" + array + two_rows + rows + again + b"t.")


def test_a_few_bytes_do_not_ask_for_gigabytes() -> None:
    # A number in the place of content, of which Python would make as many zeros; a memo that Python would fill up to its last number.
    size = b"\x8a\x05\x00\x00\x00\x00\x04"
    zeros = b"\x80\x03" + _name("numpy.core.numeric", "_frombuffer") + b"(" + size + BYTES_DTYPE + size + b"\x85C\x01CtR."
    with pytest.raises(UnreadablePickleError, match="whose content is int"):
        load_inert_bytes(zeros.replace(b"C\x01CtR", b"X\x01\x00\x00\x00CtR"))
    with pytest.raises(UnreadablePickleError, match="numbers a value 2147483647 after 3 steps"):
        load_inert_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")


def test_an_array_must_fill_its_shape() -> None:
    honest = pickle.dumps(np.arange(4, dtype=np.uint8), protocol=2)
    with pytest.raises(UnreadablePickleError, match="cannot reshape"):
        load_inert_bytes(honest.replace(b"K\x04\x85", b"K\x64\x85"))
