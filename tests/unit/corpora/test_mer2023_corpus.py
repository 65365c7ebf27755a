import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from corpus_trees.mer import make_mer2023_processed_tree, make_mer2023_tree, mer2023_samples

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora._base import Scan
from mer_ray.corpora.folds import StratifiedFoldsConfig
from mer_ray.corpora.mer2023 import Mer2023CorpusConfig
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.corpora.validation import check_rows
from mer_ray.extraction.manifest import ManifestConfig, build_manifest


def make_raw(root: Path, files: Mapping[str, Sequence[str]], tables: Mapping[str, str]) -> Path:
    """Empty videos: a scan opens none."""
    for folder, names in files.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).touch()
    for name, text in tables.items():
        (root / name).write_bytes(text.encode("utf-8"))
    return root


def scan(root: Path, **config) -> Scan:
    return Mer2023CorpusConfig(path=str(root), **config).build().scan()


def rows(found: Scan, *columns: str) -> list[tuple]:
    return [tuple(row.values()) for row in found.table.select(columns).to_pylist()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mer2023_tree(tmp_path_factory.mktemp("mer2023"))


def test_a_manifest_of_the_release_has_splits_labels_transcripts_and_folds_of_train(tree: Path, tmp_path: Path):
    config = ManifestConfig(
        corpus=Mer2023CorpusConfig(path=str(tree)), out=tmp_path / "m.parquet", folds=StratifiedFoldsConfig(splits=("train",))
    )
    summary = build_manifest(config)
    assert summary.num_faults == 0 and summary.num_audio == summary.num_video == summary.num_text == 52
    assert summary.splits == {"test1": 6, "test2": 6, "test3": 6, "train": 30, "unlabelled": 4}
    assert summary.folds == {0: 6, 1: 6, 2: 6, 3: 6, 4: 6}
    assert "MER2023 was published with 411 clips in test1; here are 6" in summary.notes
    assert "MER2023 was published with 146 clips in train, surprise; here are 5" in summary.notes
    manifest = read_manifest(config.out)
    assert manifest.facts.corpus == "mer2023" and manifest.facts.value_ranges == {"valence": (-5.0, 5.0)}
    assert manifest.facts.licence is not None and "academic research only" in manifest.facts.licence
    found = {row["clip_id"]: row for row in manifest.table.to_pylist()}
    for sample in mer2023_samples():
        row = found[sample.name]
        folder = "test3" if sample.split == "unlabelled" else sample.split
        assert (row["path"], row["split"]) == (f"{folder}/{sample.file}", sample.split)
        assert row["emotion"] == (None if sample.split == "unlabelled" else sample.emotion)
        knows_valence = sample.split in ("train", "test1", "test2") and sample.valence != -10
        assert row["valence"] == (pytest.approx(sample.valence) if knows_valence else None)
        assert row["language"] == "zh" and (row["fold"] is not None) == (sample.split == "train")


def test_raw_and_processed_copies_are_the_same_clips_with_the_same_labels(tree: Path, tmp_path: Path):
    processed = MertoolsCorpusConfig(path=str(make_mer2023_processed_tree(tmp_path / "processed"))).build()
    columns = ("clip_id", "split", "emotion", "valence", "text", "language")
    raw = sorted(row for row in rows(scan(tree), *columns) if row[1] != "unlabelled")
    assert rows(processed.scan(), *columns) != [] and sorted(rows(processed.scan(), *columns)) == raw
    notes = [note for note in scan(tree).notes if "unlabelled" not in note]
    assert list(processed.scan().notes) == notes and len(notes) == 10
    assert processed.facts().licence == Mer2023CorpusConfig(path=str(tree)).build().facts().licence


def test_the_whole_stem_decides_whose_file_it_is(tmp_path: Path):
    files = ("sample_00000010.mp4", "sample_0000001.avi", "samplenew_00000010.mp4", "sample_00000010.5.MP4")
    labels = (
        "name,discrete,valence\nsample_0000001,happy,1\nsample_00000010,sad,-1\nsamplenew_00000010,angry,-2\nsample_00000010.5,worried,0\n"
    )
    found = scan(make_raw(tmp_path, {"train": files}, {"train-label.csv": labels}))
    assert found.faults == []
    assert rows(found, "clip_id", "path", "emotion") == [
        ("sample_0000001", "train/sample_0000001.avi", "happy"),
        ("sample_00000010", "train/sample_00000010.mp4", "sad"),
        ("samplenew_00000010", "train/samplenew_00000010.mp4", "angry"),
        ("sample_00000010.5", "train/sample_00000010.5.MP4", "worried"),
    ]
    (tmp_path / "train" / "sample_0000001.avi").unlink()
    (fault,) = scan(tmp_path).faults
    assert (fault.row, fault.clip_id, fault.column) == (1, "sample_0000001", "path")
    assert fault.what == "train-label.csv line 2 names it, but train/ holds no such video"


def test_one_stem_with_two_suffixes_is_a_fault_whatever_the_split(tmp_path: Path):
    files = {"train": ["a.mp4", "a.avi", "b.mp4"], "test3": ["c.mp4", "c.avi"]}
    found = scan(make_raw(tmp_path, files, {"train-label.csv": "name,discrete\na,sad\nb,sad\n"}))
    assert [str(fault) for fault in found.faults] == [
        "row 1, clip 'a', path: train/ holds a.avi and a.mp4; allowed: one file per name",
        "row 3, clip 'c', path: test3/ holds c.avi and c.mp4; allowed: one file per name",
    ]
    assert rows(found, "clip_id") == [("b",)] and list(found.row_numbers) == [2]


def test_a_training_video_without_a_label_is_a_fault_and_a_test_video_a_clip(tmp_path: Path):
    files = {"train": ["a.mp4", "b.mp4"], "test1": ["c.mp4", "d.mp4"], "test2": ["e.mp4"], "test3": ["f.mp4", "g.mp4"]}
    tables = {
        "train-label.csv": "name,discrete,valence\na,sad,0\n",
        "test1-label.csv": "name,discrete,valence\nd,sad,0\n",
        "test3-label.csv": "name,discrete,valence\ng,happy,-10\n",
    }
    found = scan(make_raw(tmp_path, files, tables))
    assert [str(fault) for fault in found.faults] == [
        "row 2, clip 'b', emotion: no row of train-label.csv names train/b.mp4; allowed: a label for each video"
    ]
    assert rows(found, "clip_id", "split", "emotion", "valence") == [
        ("a", "train", "sad", 0.0),
        ("d", "test1", "sad", 0.0),
        ("c", "test1", None, None),
        ("e", "test2", None, None),
        ("g", "test3", "happy", None),
        ("f", "unlabelled", None, None),
    ]


def test_before_labels_are_published_all_clips_of_a_test_folder_are_test_clips(tree: Path, tmp_path: Path):
    files = {split: sorted(path.name for path in (tree / split).iterdir()) for split in ("train", "test1", "test2", "test3")}
    early = scan(make_raw(tmp_path, files, {"train-label.csv": (tree / "train-label.csv").read_text()}))
    splits = [split for (split,) in rows(early, "split")]
    assert [splits.count(split) for split in ("train", "test1", "test2", "test3", "unlabelled")] == [30, 6, 6, 10, 0]
    assert {emotion for split, emotion in rows(early, "split", "emotion") if split != "train"} == {None}
    assert "MER2023 was published with 73982 clips in test3; here are 10" in early.notes


def test_unknown_values_windows_line_ends_a_byte_order_mark_and_further_columns(tmp_path: Path):
    lines = [
        "\ufeffname,rater,discrete,valence",
        "a,7,sad,-10",
        "b,7,happy,nan",
        "c,7,angry,",
        "d,7,neutral,-10.0",
        "e,7,worried,2.5",
        "f,7,,1",
    ]
    root = make_raw(tmp_path, {"train": [f"{name}.mp4" for name in "abcdef"]}, {"train-label.csv": "\r\n".join(lines) + "\r\n"})
    found = scan(root)
    assert found.faults == [] and check_rows(found, Mer2023CorpusConfig(path=str(root)).build().facts()) == []
    assert rows(found, "emotion", "valence") == [
        ("sad", None), ("happy", None), ("angry", None), ("neutral", None), ("worried", 2.5), (None, 1.0)
    ]  # fmt: skip


def test_wrong_cells_are_faults_of_their_clips(tmp_path: Path):
    labels = "name,discrete,valence\na,Happy,1\nb,sad,high\nc,sad,5.5\n,sad,1\nd,sad,1,extra\ne,sad,1\ne,happy,1\n"
    root = make_raw(tmp_path, {"train": [f"{name}.mp4" for name in "abcde"]}, {"train-label.csv": labels})
    corpus = Mer2023CorpusConfig(path=str(root)).build()
    found = [str(fault) for fault in [*corpus.scan().faults, *check_rows(corpus.scan(), corpus.facts())]]
    assert found == [
        "row 1: train-label.csv line 6: has 4 cells; allowed: 3, as in the header; quote cells that hold ','",
        "row 2, clip 'b', valence: train-label.csv line 3: 'high' is no number; allowed: a number with a decimal point, "
        "or empty for unknown; -10 is unknown too",
        "row 3, clip_id: train-label.csv line 5: the name is empty; allowed: the name of a clip, as its file is called",
        "row 8, clip 'd', emotion: no row of train-label.csv names train/d.mp4; allowed: a label for each video",
        "row 6, clip 'e', clip_id: is also the id of row 7; allowed: ids that differ",
        "row 7, clip 'e', clip_id: is also the id of row 6; allowed: ids that differ",
        "row 4, clip 'a', emotion: unknown label 'Happy'; did you mean 'happy'?; allowed: neutral, angry, happy, sad, worried, surprise",
        "row 5, clip 'c', valence: 5.5 is out of range; allowed: -5 to 5, or empty for unknown",
    ]


def test_names_may_carry_their_own_files_suffix_but_no_other(tmp_path: Path):
    tables = {
        "train-label.csv": "name,discrete,valence\na.mp4,sad,0\nb.mp4,happy,0\n",
        "transcription.csv": "name,sentence\na.mp4,你好\nnobody,再见\n",
    }
    found = scan(make_raw(tmp_path, {"train": ["a.mp4", "b.avi"]}, tables))
    assert rows(found, "clip_id", "text", "language") == [("a", "你好", "zh")]
    assert [fault.clip_id for fault in found.faults] == ["b.mp4", "b"]
    assert "transcription.csv: 1 of 2 names are no clips, e.g. 'nobody'" in found.notes


def test_two_sentences_of_one_name_are_a_fault_and_a_missing_one_is_unknown(tmp_path: Path):
    tables = {"train-label.csv": "name,discrete\na,sad\nb,sad\nc,sad\n", "transcription.csv": "name,sentence\na,你好\na,再见\nb,\n"}
    found = scan(make_raw(tmp_path, {"train": ["a.mp4", "b.mp4", "c.mp4"]}, tables))
    assert [(fault.clip_id, fault.what) for fault in found.faults] == [
        ("a", "transcription.csv: line 3 has another sentence for this name")
    ]
    assert rows(found, "text", "language") == [("你好", "zh"), ("", "zh"), (None, None)]


def test_what_is_no_video_and_a_missing_folder_are_noted(tmp_path: Path):
    files = {"train": ["a.mp4", "list.txt", "readme.txt", ".DS_Store", "Thumbs.db", "__MACOSX"]}
    found = scan(make_raw(tmp_path, files, {"train-label.csv": "name,discrete\na,sad\n", "test1-label.csv": "name,discrete\nb,sad\n"}))
    assert found.faults == [] and rows(found, "clip_id") == [("a",)]
    assert "train/: 2 entries are no videos and were left out: list.txt, readme.txt" in found.notes
    assert "no test1/: its clips are left out, and test1-label.csv" in found.notes and "no test2/: its clips are left out" in found.notes


def test_a_video_whose_name_is_not_utf8_is_no_clip_of_the_release(tmp_path: Path):
    root = make_raw(tmp_path, {"train": ["a.mp4"], "test1": ["b.mp4"]}, {"train-label.csv": "name,discrete\na,sad\n"})
    (root / "test1" / os.fsdecode(b"\xff\xe9.mp4")).touch()
    found = scan(root)
    assert found.faults == [] and rows(found, "clip_id") == [("a",), ("b",)]
    assert r"test1/: 1 entries are no videos and were left out: \udcff\udce9.mp4" in found.notes


def test_splits_choose_what_is_taken(tree: Path, tmp_path: Path):
    assert {split for (split,) in rows(scan(tree, splits=("unlabelled",)), "split")} == {"unlabelled"}
    some = scan(tree, splits=("train", "test3"))
    assert {split for (split,) in rows(some, "split")} == {"train", "test3"} and some.faults == []
    assert "MER2023 was published with 834 clips in test3; here are 6" in some.notes and not any("test1" in note for note in some.notes)
    with pytest.raises(ConfigError, match=r"splits\.0"):
        parse_config(Mer2023CorpusConfig, {"name": "mer2023", "path": str(tree), "splits": ["dev"]}, "test")
    make_raw(tmp_path, {"train": ["a.mp4"]}, {"train-label.csv": "name,discrete\na,sad\n"})
    with pytest.raises(ManifestError, match="no clip of test1 in it; choose other `splits`"):
        scan(tmp_path, splits=("test1",))


def test_another_folder_says_what_it_lacks(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"no train and no train-label.csv in it; .* is the corpus \{name: mertools\}"):
        scan(tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        scan(tmp_path / "nowhere")
    make_raw(tmp_path, {"train": ["a.mp4"]}, {"train-label.csv": "name,label\na,sad\n"})
    with pytest.raises(ManifestError, match=r"train-label\.csv: has the columns name, label; needed: name, discrete"):
        scan(tmp_path)


def test_broken_clips_are_one_line_faults_and_keep_going_leaves_them_out(tree: Path, tmp_path: Path):
    labels = (tree / "train-label.csv").read_text().splitlines(keepends=True)
    make_raw(tmp_path / "r", {"train": []}, {"train-label.csv": "".join(labels[:4])})
    first, second, third = mer2023_samples()[:3]
    for sample in (first, second):
        (tmp_path / "r" / "train" / sample.file).write_bytes((tree / "train" / sample.file).read_bytes())
    (tmp_path / "r" / "train" / third.file).write_bytes(b"no video")
    config = {"corpus": {"name": "mer2023", "path": str(tmp_path / "r")}, "out": str(tmp_path / "m.parquet")}
    with pytest.raises(ManifestError) as caught:
        build_manifest(ManifestConfig.model_validate(config))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 and f"row 3, clip {third.name!r}, path:" in lines[1]
    summary = build_manifest(ManifestConfig.model_validate({**config, "keep_going": True}))
    assert (summary.num_clips, summary.num_faults) == (2, 1)
