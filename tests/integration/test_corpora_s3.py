from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from corpus_trees import crema_d, iemocap, meld, msp_improv, ravdess

from mer_ray.core.manifest import read_manifest
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

TREES: dict[str, Callable[[Path], Path]] = {
    "crema_d": crema_d.make_tree,
    "iemocap": iemocap.make_tree,
    "meld": meld.make_tree,
    "msp_improv": msp_improv.make_tree,
    "ravdess": ravdess.make_tree,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TREES)
def test_a_release_on_s3_gives_the_rows_of_its_local_copy(s3_bucket: str, tmp_path: Path, name: str):
    tree = TREES[name](tmp_path / "tree")
    fsspec.filesystem("s3").put(str(tree), f"{s3_bucket}/{name}", recursive=True)
    tables, notes, faults = [], [], []
    for path in (str(tree), f"{s3_bucket}/{name}/"):
        out = tmp_path / f"{len(tables)}.parquet"
        config = {"corpus": {"name": name, "path": path}, "out": str(out), "keep_going": True}
        summary = build_manifest(ManifestConfig.model_validate(config))
        tables.append(read_manifest(out).table.to_pylist())
        notes.append(summary.notes)
        faults.append(summary.num_faults)
    assert tables[0] == tables[1] and len(tables[0]) >= 30
    assert notes[0] == notes[1] and faults[0] == faults[1]
