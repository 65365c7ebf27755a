from pathlib import Path

import numpy as np
import pytest
from corpus_trees.mer import make_mer2024_tree, mer2024_samples

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora.mer2024 import Mer2024CorpusConfig
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

UNLABELLED = "video-unlabeled-with-test2noise"


def make_raw(root: Path, labelled: list[str], labels: str) -> Path:
    """Empty videos: a scan opens none."""
    (root / "video-labeled").mkdir(parents=True)
    for name in labelled:
        (root / "video-labeled" / name).touch()
    (root / "label-disdim.csv").write_text(labels, encoding="utf-8")
    return root


def rows(root: Path, *columns: str, **config) -> list[tuple]:
    found = Mer2024CorpusConfig(path=str(root), **config).build().scan()
    return [tuple(row.values()) for row in found.table.select(columns).to_pylist()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mer2024_tree(tmp_path_factory.mktemp("mer2024"))


def test_a_manifest_of_the_release_has_labelled_and_unlabelled_clips(tree: Path, tmp_path: Path):
    config = {
        "corpus": {"name": "mer2024", "path": str(tree)},
        "folds": {"name": "stratified", "splits": ["train"]},
        "out": str(tmp_path / "m.parquet"),
    }
    summary = build_manifest(ManifestConfig.model_validate(config))
    assert summary.splits == {"train": 30, "unlabelled": 8} and summary.folds == {0: 6, 1: 6, 2: 6, 3: 6, 4: 6}
    assert (summary.num_faults, summary.num_text) == (0, 30)
    assert summary.notes == ("MER2024 was published with 5030 clips in train; here are 30",)
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.facts.licence is not None and manifest.facts.licence.startswith("EULA of MER2024: academic research only")
    found = {row["clip_id"]: row for row in manifest.table.to_pylist()}
    for sample in mer2024_samples():
        row = found[sample.name]
        if sample.split == "train":
            valence = None if sample.valence == -10 else pytest.approx(sample.valence)
            assert (row["path"], row["emotion"], row["valence"]) == (f"video-labeled/{sample.file}", sample.emotion, valence)
        else:
            assert (row["path"], row["emotion"], row["valence"], row["text"]) == (f"{UNLABELLED}/{sample.file}", None, None, None)


def test_the_other_language_and_the_splits_are_chosen_by_name(tree: Path):
    assert {row[0] for row in rows(tree, "language", splits=["train"])} == {"zh"}
    english = rows(tree, "split", "text", "language", language="english", splits=["train"])
    assert len(english) == 30 and english[0] == ("train", "today is wednesday", "en")
    corpus = Mer2024CorpusConfig(path=str(tree), splits=("unlabelled",)).build()
    assert corpus.scan().table["split"].to_pylist() == ["unlabelled"] * 8 and corpus.scan().notes == []


def test_a_label_file_without_valence_knows_none(tmp_path: Path):
    root = make_raw(tmp_path, ["samplenew3_00000001.mp4", "samplenew3_000000010.avi"], "name,discrete\nsamplenew3_000000010,worried\n")
    found = Mer2024CorpusConfig(path=str(root)).build().scan()
    assert found.table.select(["clip_id", "emotion", "valence"]).to_pylist() == [
        {"clip_id": "samplenew3_000000010", "emotion": "worried", "valence": None}
    ]
    assert [fault.what for fault in found.faults] == ["no row of label-disdim.csv names video-labeled/samplenew3_00000001.mp4"]
    assert f"no {UNLABELLED}/: its clips are left out" in found.notes


def test_a_clip_in_both_folders_is_a_fault(tmp_path: Path):
    root = make_raw(tmp_path, ["a.mp4"], "name,discrete\na,sad\n")
    (root / UNLABELLED).mkdir()
    (root / UNLABELLED / "a.mp4").write_bytes(b"")
    config = {"corpus": {"name": "mer2024", "path": str(root)}, "out": str(tmp_path / "m.parquet")}
    with pytest.raises(ManifestError, match="row 1, clip 'a', clip_id: is also the id of row 2"):
        build_manifest(ManifestConfig.model_validate(config))


def test_another_folder_says_what_it_lacks(tmp_path: Path):
    with pytest.raises(ManifestError, match="no video-labeled/ in it; `path` is the folder of MER2024"):
        rows(tmp_path, "clip_id")
    (tmp_path / "video-labeled").mkdir()
    with pytest.raises(ManifestError, match=r"no label-disdim.csv in it"):
        rows(tmp_path, "clip_id")


def test_a_processed_copy_is_known_by_its_splits(tree: Path, tmp_path: Path):
    train = {sample.name: {"emo": sample.emotion} for sample in mer2024_samples() if sample.split == "train"}
    test1 = {sample.name: {"emo": "neutral"} for sample in mer2024_samples() if sample.split == "unlabelled"}
    np.savez_compressed(tmp_path / "label-6way.npz", train_corpus=train, test1_corpus=test1)
    corpus = MertoolsCorpusConfig(path=str(tmp_path)).build()
    assert corpus.scan().notes == ["MER2024 was published with 5030 clips in train; here are 30"]
    assert corpus.facts().licence == Mer2024CorpusConfig(path=str(tree)).build().facts().licence
    labels = [tuple(row.values()) for row in corpus.scan().table.select(["clip_id", "emotion"]).to_pylist()]
    assert sorted(labels) == sorted(rows(tree, "clip_id", "emotion"))
