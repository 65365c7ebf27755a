from pathlib import Path

import fsspec
import pytest
from corpus_trees.mer import make_mer2023_tree, make_mer2025_tree

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora.mer2023 import Mer2023CorpusConfig
from mer_ray.extraction.manifest import ManifestConfig, build_manifest


@pytest.mark.parametrize(("name", "make_tree"), [("mer2023", make_mer2023_tree), ("mer2025", make_mer2025_tree)])
def test_a_release_on_s3_gives_the_rows_of_its_local_copy(s3_bucket: str, tmp_path: Path, name: str, make_tree):
    tree = make_tree(tmp_path / "tree", num_per_class=2, num_unlabelled=2)
    fsspec.filesystem("s3").put(str(tree), f"{s3_bucket}/mer", recursive=True)
    tables, notes = [], []
    for path in (str(tree), f"{s3_bucket}/mer/"):
        out = tmp_path / f"{len(tables)}.parquet"
        summary = build_manifest(ManifestConfig.model_validate({"corpus": {"name": name, "path": path}, "out": str(out)}))
        tables.append(read_manifest(out).table.to_pylist())
        notes.append(summary.notes)
    assert tables[0] == tables[1] and len(tables[0]) >= 20
    assert notes[0] == notes[1]


def test_a_prefix_without_the_release_says_so(s3_bucket: str):
    with pytest.raises(ManifestError, match=r"s3://.*/nothing: no such folder|no train and no train-label"):
        Mer2023CorpusConfig(path=f"{s3_bucket}/nothing").build().scan()
