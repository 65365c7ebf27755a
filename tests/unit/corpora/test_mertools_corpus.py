from pathlib import Path

import numpy as np
import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.corpora.mertools import MertoolsCorpusConfig
from mer_ray.corpora.validation import check_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mer2023-dataset-process"
    for name in ("video", "audio", "openface_face/sample_1"):
        (root / name).mkdir(parents=True)
    train = {"sample_1": {"emo": "worried", "val": -1.0}, "sample_11": {"emo": "happy", "val": 4.0}}
    np.savez_compressed(root / "label-6way.npz", train_corpus=train, test3_corpus={"samplenew_2": {"emo": "sad", "val": -10}})
    (root / "transcription-engchi-polish.csv").write_text(
        'name,chinese,english\nsample_11,"你好，\n吗？",Hello?\nsample_1,,\n', encoding="utf-8"
    )
    for name in (
        "video/sample_11.avi",
        "video/sample_1.mp4",
        "audio/sample_1.wav",
        "openface_face/sample_1/sample_1.npy",
        "video/.DS_Store",
    ):
        (root / name).touch()
    return root


def test_labels_transcripts_and_media_are_joined_by_name(folder: Path):
    corpus = MertoolsCorpusConfig(path=str(folder)).build()
    scan, facts = corpus.scan(), corpus.facts()
    assert facts.corpus == "mer2023-dataset-process" and facts.classes[0] == "neutral" and len(facts.classes) == 6
    faces = "openface_face/sample_1/sample_1.npy"
    columns = ["clip_id", "path", "audio_path", "video_path", "faces_path", "split", "text", "language", "emotion", "valence"]
    assert [tuple(row.values()) for row in scan.table.select(columns).to_pylist()] == [
        ("sample_1", "video/sample_1.mp4", "audio/sample_1.wav", None, faces, "train", "", "zh", "worried", -1.0),
        ("sample_11", "video/sample_11.avi", None, None, None, "train", "你好，\n吗？", "zh", "happy", 4.0),
        ("samplenew_2", None, None, None, None, "test3", None, None, "sad", None),
    ]  # fmt: skip
    assert [*scan.faults, *check_rows(scan, facts)] == []


def test_the_other_language_is_chosen_by_name(folder: Path):
    rows = MertoolsCorpusConfig(path=str(folder), language="english", corpus_name="mer").build().scan().table.to_pylist()
    assert [(row["text"], row["language"]) for row in rows] == [("", "en"), ("Hello?", "en"), (None, None)]


def test_speech_recognised_by_the_first_baseline_is_chinese(folder: Path):
    (folder / "transcription-engchi-polish.csv").unlink()
    (folder / "transcription.csv").write_text("name,sentence\nsample_1,好\n", encoding="utf-8")
    assert MertoolsCorpusConfig(path=str(folder)).build().scan().table["text"].to_pylist() == ["好", None, None]
    with pytest.raises(ManifestError, match="has the columns name, sentence; needed: name and english"):
        MertoolsCorpusConfig(path=str(folder), language="english").build().scan()


def test_two_videos_of_a_name_and_wrong_labels_are_faults_of_their_rows(folder: Path):
    (folder / "video" / "sample_1.avi").touch()
    train = {"x": {"emo": None}, "sample_1": {"emo": "bored", "val": 9.0}}
    np.savez_compressed(folder / "label-6way.npz", train_corpus=train)
    corpus = MertoolsCorpusConfig(path=str(folder)).build()
    scan = corpus.scan()
    faults = [*scan.faults, *check_rows(scan, corpus.facts())]
    assert [(fault.row, fault.column) for fault in faults] == [(1, "emotion"), (2, "path"), (2, "emotion"), (2, "valence")]
    assert "video/ holds sample_1.avi and sample_1.mp4" in faults[1].what


def test_another_folder_says_which_files_it_lacks(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"no label-6way.npz in it; give the folder that MERTools made .* features/<model>-UTT"):
        MertoolsCorpusConfig(path=str(tmp_path)).build().scan()
    with pytest.raises(ManifestError, match="no such folder"):
        MertoolsCorpusConfig(path=str(tmp_path / "nowhere")).build().scan()
    with pytest.raises(ConfigError, match="a local folder is needed"):
        parse_config(MertoolsCorpusConfig, {"name": "mertools", "path": "s3://bucket/mer"}, "test")
