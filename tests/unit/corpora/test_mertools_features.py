from pathlib import Path

import numpy as np
import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.mertools_features import list_feature_folders, read_feature


def test_folders_are_named_after_model_and_kind(tmp_path: Path):
    names = (
        "manet_UTT",
        "chinese-macbert-large-4-UTT",
        "Baichuan-13B-Base-langeng-FRA",
        "wavlm-large-FRA_-1",
        "mine-UTT",
        "notes",
        "clip-UTT",
    )
    for name in names:
        (tmp_path / "features" / name).mkdir(parents=True)
    (tmp_path / "features" / "file-UTT").touch()
    found = list_feature_folders(tmp_path)
    assert [(folder.name, folder.model, folder.kind, folder.modality()) for folder in found] == [
        ("Baichuan-13B-Base-langeng-FRA", "Baichuan-13B-Base-langeng", "FRA", "text"),
        ("chinese-macbert-large-4-UTT", "chinese-macbert-large-4", "UTT", "text"),
        ("clip-UTT", "clip", "UTT", None),
        ("manet_UTT", "manet", "UTT", "vision"),
        ("mine-UTT", "mine", "UTT", None),
    ]


@pytest.mark.parametrize(("names", "message"), [((), "it is empty or not there"), (("a", "b"), "it holds a, b")])
def test_a_folder_without_features_says_what_was_looked_for(tmp_path: Path, names, message: str):
    for name in names:
        (tmp_path / "features" / name).mkdir(parents=True)
    with pytest.raises(ManifestError, match=f"no folder <model>-UTT or <model>-FRA .{message}"):
        list_feature_folders(tmp_path)


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        *[("UTT", (5,), (5,)), ("UTT", (1, 5), (5,)), ("UTT", (1,), (1,)), ("UTT", (1, 1), (1,)), ("UTT", (), (1,))],
        *[("FRA", (3, 5), (3, 5)), ("FRA", (1, 5), (1, 5)), ("FRA", (5,), (1, 5)), ("FRA", (1, 3, 5), (3, 5)), ("FRA", (3, 1), (3, 1))],
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8"])
def test_shapes_are_read_as_mertools_reads_them(tmp_path: Path, kind, shape, expected, dtype: str):
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    found = read_feature(tmp_path / "a.npy", kind)
    assert found.dtype == np.float32 and found.shape == expected
    np.testing.assert_array_equal(found.ravel(), values.astype(np.float32).ravel())


def test_columns_first_is_read_as_rows_first(tmp_path: Path):
    values = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(read_feature(tmp_path / "a.npy", "FRA"), values)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("UTT", np.zeros((3, 5)), r"has shape \(3, 5\); a file of a UTT folder holds \(D,\), one vector"),
        ("UTT", np.zeros(0), r"has shape \(0,\)"),
        ("FRA", np.zeros((0, 5)), r"has shape \(0, 5\); a file of a FRA folder holds \(T, D\)"),
        ("FRA", np.zeros((2, 3, 5)), r"has shape \(2, 3, 5\)"),
        ("UTT", np.zeros(5, np.int64), "holds int64; features are float16"),
        ("UTT", np.array([{"a": 1}], dtype=object), "holds object"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, kind, values, message: str):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(ManifestError, match=message):
        read_feature(tmp_path / "a.npy", kind)


def test_every_cut_or_damaged_header_is_one_kind_of_error(tmp_path: Path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6, dtype=np.float32))
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(ManifestError):
            read_feature(path, "UTT")
    random = np.random.default_rng(0)
    num_refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[random.integers(100)] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_feature(path, "UTT")
        except ManifestError:
            num_refused += 1
    assert num_refused > 30


def test_a_header_that_promises_terabytes_asks_for_no_memory(tmp_path: Path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(ManifestError, match="holds 0 bytes of values, but its header says"):
        read_feature(tmp_path / "a.npy", "UTT")
