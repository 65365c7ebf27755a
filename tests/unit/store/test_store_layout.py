import pickle
from pathlib import Path

import pytest

from mer_ray.core.errors import StoreError
from mer_ray.store.layout import open_store


def test_local_store_is_absolute_and_pickles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("features")
    assert store.root == str(tmp_path / "features")
    assert not Path(store.root).exists()
    assert store.filesystem.exists(str(tmp_path))
    assert pickle.loads(pickle.dumps(store)) == store == open_store(f"file://{tmp_path}/features") == open_store(Path("features"))


def test_paths_follow_the_design(tmp_path):
    store = open_store(tmp_path)
    assert store.part_folder("emodb", "hubert@01234567", "features") == f"{tmp_path}/emodb/features/hubert@01234567"
    assert store.part_folder("emodb", "hubert@01234567", "failures") == f"{tmp_path}/emodb/failures/hubert@01234567"
    assert store.record_path("emodb", "hubert@01234567") == f"{tmp_path}/emodb/features/hubert@01234567/_encoder.json"


def test_s3_store_is_bucket_and_prefix():
    store = open_store("s3://bucket/some/prefix/")
    assert (store.url, store.root, store.is_local) == ("s3://bucket/some/prefix", "bucket/some/prefix", False)
    assert store.locate(store.corpus_folder("emodb")) == "s3://bucket/some/prefix/emodb"


@pytest.mark.parametrize("url", ["s3://", "gs://bucket/x", "http://host/x"])
def test_other_places_are_refused(url):
    with pytest.raises(StoreError, match="write a local folder or s3://bucket/prefix"):
        open_store(url)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a b", ".hidden"])
def test_names_cannot_leave_their_folder(tmp_path, name):
    store = open_store(tmp_path)
    with pytest.raises(StoreError, match="cannot be a folder's name"):
        store.corpus_folder(name)
    with pytest.raises(StoreError, match="cannot be a folder's name"):
        store.part_folder("corpus", name, "features")
