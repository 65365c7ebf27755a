from pathlib import Path

import pytest
from corpus_trees.mer import make_mer2025_tree, mer2025_samples

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora.mer2025 import Mer2025CorpusConfig
from mer_ray.extraction.manifest import ManifestConfig, build_manifest


def make_raw(root: Path, videos: str, **tables: str) -> Path:
    """Empty videos named by letters: a scan opens none."""
    (root / "video").mkdir(parents=True)
    for name in videos.split():
        (root / "video" / f"{name}.mp4").touch()
    for name, text in tables.items():
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def scan_rows(root: Path, *columns: str, **config) -> list[tuple]:
    found = Mer2025CorpusConfig(path=str(root), **config).build().scan()
    return [tuple(row.values()) for row in found.table.select(columns).to_pylist()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mer2025_tree(tmp_path_factory.mktemp("mer2025"))


def test_a_manifest_of_the_release_has_labels_candidates_sound_and_faces(tree: Path, tmp_path: Path):
    config = {
        "corpus": {"name": "mer2025", "path": str(tree)},
        "folds": {"name": "stratified", "splits": ["train"]},
        "out": str(tmp_path / "m.parquet"),
    }
    summary = build_manifest(ManifestConfig.model_validate(config))
    assert summary.splits == {"candidates": 6, "train": 30, "unlabelled": 4} and summary.folds == {0: 6, 1: 6, 2: 6, 3: 6, 4: 6}
    assert (summary.num_faults, summary.num_text, summary.num_audio, summary.num_video) == (0, 40, 40, 40)
    assert summary.notes == (
        "MER2025 was published with 7369 clips in train; here are 30",
        "MER2025 was published with 20000 clips in candidates; here are 6",
        "MER2025 was published with 132171 clips in video/; here are 40",
    )
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.facts.licence is not None and manifest.facts.licence.startswith("CC BY-NC 4.0 under the EULA of MER2025")
    found = {row["clip_id"]: row for row in manifest.table.to_pylist()}
    for sample in mer2025_samples():
        row = found[sample.name]
        assert (row["path"], row["audio_path"]) == (f"video/{sample.name}.mp4", f"audio/{sample.name}.wav")
        assert row["faces_path"] == f"openface_face/{sample.name}/{sample.name}.npy"
        is_labelled = sample.split == "train"
        assert (row["split"], row["emotion"]) == (sample.split, sample.emotion if is_labelled else None)
        assert row["valence"] == (pytest.approx(sample.valence) if is_labelled and sample.valence != -10 else None)


def test_what_the_list_of_candidates_says_beside_names_is_no_label(tmp_path: Path):
    root = make_raw(
        tmp_path,
        "a b c d",
        track1_train_disdim="name,discrete,valence\na,sad,-1\n",
        track_all_candidates="name,discrete\nb,neutral\na,neutral\n",
    )
    assert scan_rows(root, "clip_id", "split", "emotion", "audio_path", "faces_path") == [
        ("a", "train", "sad", None, None),
        ("b", "candidates", None, None, None),
        ("c", "unlabelled", None, None, None),
        ("d", "unlabelled", None, None, None),
    ]
    notes = Mer2025CorpusConfig(path=str(root)).build().scan().notes
    assert "track_all_candidates.csv: 1 clips are in the split of their labels, not in candidates" in notes


def test_candidates_whose_labels_are_told_are_the_test(tmp_path: Path):
    root = make_raw(
        tmp_path,
        "a b c",
        track1_train_disdim="name,discrete,valence\na,sad,-1\n",
        track_all_candidates="name\nb\nc\n",
        track1_test_dis="name,discrete\nc,happy\n",
    )
    assert scan_rows(root, "clip_id", "split", "emotion") == [("a", "train", "sad"), ("c", "test", "happy"), ("b", "candidates", None)]
    assert scan_rows(root, "clip_id", splits=["candidates", "test"]) == [("c",), ("b",)]
    notes = Mer2025CorpusConfig(path=str(root)).build().scan().notes
    assert not any("clips in candidates" in note for note in notes)


def test_a_candidate_without_a_video_is_a_fault(tmp_path: Path):
    root = make_raw(tmp_path, "a bb", track1_train_disdim="name,discrete,valence\na,sad,1\n", track_all_candidates="name\nb\n")
    (fault,) = Mer2025CorpusConfig(path=str(root)).build().scan().faults
    assert (fault.row, fault.clip_id, fault.column) == (2, "b", "path")
    assert fault.what == "track_all_candidates.csv line 2 names it, but video/ holds no such video"


def test_faces_that_a_folder_promises_and_lacks_are_a_fault(tree: Path, tmp_path: Path):
    sample = mer2025_samples()[0]
    make_raw(tmp_path, "", track1_train_disdim=f"name,discrete,valence\n{sample.name},sad,1\n")
    (tmp_path / "video" / sample.file).write_bytes((tree / "video" / sample.file).read_bytes())
    (tmp_path / "openface_face" / sample.name).mkdir(parents=True)
    config = {"corpus": {"name": "mer2025", "path": str(tmp_path)}, "out": str(tmp_path / "m.parquet")}
    with pytest.raises(ManifestError, match=rf"row 1, clip {sample.name!r}, faces_path: .* no such file"):
        build_manifest(ManifestConfig.model_validate(config))


def test_english_transcripts_and_folders_that_are_not_the_release(tree: Path, tmp_path: Path):
    assert scan_rows(tree, "text", "language", language="english")[0] == ("today is wednesday", "en")
    with pytest.raises(ManifestError, match="no video/ in it; `path` is the folder of MER2025"):
        scan_rows(tmp_path, "clip_id")
    (tmp_path / "video").mkdir()
    with pytest.raises(ManifestError, match=r"no track1_train_disdim\.csv in it"):
        scan_rows(tmp_path, "clip_id")
