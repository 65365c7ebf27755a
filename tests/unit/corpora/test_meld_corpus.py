from collections.abc import Sequence
from pathlib import Path

import pytest
from corpus_trees import meld

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ManifestError
from mer_ray.corpora._base import Scan
from mer_ray.corpora.meld import MeldCorpusConfig
from mer_ray.corpora.validation import check_rows
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same name in every split; no media is opened by a scan."""
    root = tmp_path / "MELD.Raw"
    for split, name in FOLDERS.items():
        (root / name).mkdir(parents=True)
        (root / name / "dia0_utt0.mp4").touch()
        write_table(root, split, [f'1,"Hey, {split}!",Ross,joy,positive,0,0'])
    return root


def write_table(root: Path, split: str, rows: Sequence[str], end: str = "\n") -> None:
    (root / f"{split}_sent_emo.csv").write_text(end.join([HEADER, *rows, ""]), encoding="utf-8", newline="")


def scan(folder: Path, **options: object) -> Scan:
    return MeldCorpusConfig(path=str(folder), **options).build().scan()


def test_a_name_of_every_split_is_three_clips(folder: Path):
    found = scan(folder)
    columns = ["clip_id", "path", "speaker_id", "split", "text", "language", "emotion"]
    assert [tuple(row.values()) for row in found.table.select(columns).to_pylist()] == [
        (f"{split}_dia0_utt0", f"{name}/dia0_utt0.mp4", "Ross", split, f"Hey, {split}!", "en", "joy") for split, name in FOLDERS.items()
    ]
    assert list(found.faults) == [] and list(found.row_numbers) == [1, 2, 3]
    assert list(found.notes) == [
        f"meld was published with {count} clips in {split}; here are 1" for split, count in (("train", 9989), ("dev", 1109), ("test", 2610))
    ]
    facts = MeldCorpusConfig(path=str(folder)).build().facts()
    assert facts.classes == ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise") and "GPL-3.0" in str(facts.licence)


def test_rows_without_videos_keep_their_text_and_videos_without_rows_are_left_out(folder: Path):
    (folder / FOLDERS["dev"] / "dia0_utt0.mp4").rename(folder / FOLDERS["dev"] / "dia66_utt9.mp4")
    corpus = MeldCorpusConfig(path=str(folder)).build()
    found = corpus.scan()
    assert found.table["path"].to_pylist()[1] is None and check_rows(found, corpus.facts()) == []
    assert list(found.notes)[-2:] == [
        "1 rows have no video and are clips with text only: dev_dia0_utt0",
        "1 clips have a video but no row in the tables and are left out: dev_dia66_utt9",
    ]


def test_second_cuts_are_ignored_or_preferred(folder: Path):
    final = "output_repeated_splits_test/final_videos_testdia0_utt0.mp4"
    (folder / final).touch()
    (folder / FOLDERS["test"] / "._final_videos_testdia0_utt0.mp4").touch()
    ignoring, preferring = scan(folder), scan(folder, final_videos="prefer")
    assert ignoring.table["path"].to_pylist()[2] == "output_repeated_splits_test/dia0_utt0.mp4"
    assert preferring.table["path"].to_pylist()[2] == final
    assert ignoring.notes[-1] == "1 second cuts final_videos_test* are ignored; for the others set corpus.final_videos: prefer"
    assert preferring.notes[-1] == "1 second cuts final_videos_test* are taken; for the others set corpus.final_videos: ignore"
    assert list(ignoring.faults) == list(preferring.faults) == []


def test_windows_signs_are_mended_and_said(folder: Path):
    write_table(
        folder, "train", ["1,It\x92s \x93you\x94\x85 caf\u00e9,Richard\x92s Date,joy,positive,0,0", "2,It’s fine,Ross,joy,positive,0,1"]
    )
    found = scan(folder)
    assert found.table["text"].to_pylist()[:2] == ["It’s “you”… café", "It’s fine"]
    assert found.table["speaker_id"].to_pylist()[0] == "Richard’s Date"
    assert "2 sentences or speakers held Windows-1252 signs as control characters, which were mended" in found.notes
    content = (folder / "train_sent_emo.csv").read_text(encoding="utf-8").replace("\x92", "'").encode("latin-1", "ignore")
    (folder / "train_sent_emo.csv").write_bytes(content.replace(b"It's", b"It\x92s"))
    with pytest.raises(ManifestError, match=r"line 2 is not UTF-8; save the table with the encoding UTF-8"):
        scan(folder)


def test_bad_rows_are_faults_of_one_row_each(folder: Path):
    rows = ["1,Hey,Ross,joy,positive,0,0", "2,Hey,Ross,joy,positive", "3,Hey,Ross,bored,positive,0,1", "4,Hey,Ross,joy,positive,x,1"]
    write_table(folder, "train", [*rows, "5,Ho,Ross,anger,negative,0,0"], end="\r\n")
    corpus = MeldCorpusConfig(path=str(folder)).build()
    faults = [*corpus.scan().faults, *check_rows(corpus.scan(), corpus.facts())]
    assert [(fault.row, fault.column) for fault in faults] == [(1, None), (4, "clip_id"), (2, "clip_id"), (5, "clip_id"), (3, "emotion")]
    assert faults[0].what == "train_sent_emo.csv: line 3 has 5 cells"
    assert list(corpus.scan().row_numbers) == [2, 3, 4, 5, 6, 7]


def test_two_files_of_one_clip_are_a_fault(folder: Path):
    (folder / "again" / "train_splits").mkdir(parents=True)
    (folder / "again" / "train_splits" / "dia0_utt0.mp4").touch()
    assert [(fault.row, fault.column) for fault in scan(folder).faults] == [(1, "path")]


def test_the_table_nearest_to_the_top_counts_and_a_missing_one_is_named(folder: Path):
    (folder / "train").mkdir()
    write_table(folder / "train", "train", [])
    assert scan(folder).table.num_rows == 3
    (folder / "train_sent_emo.csv").write_text("Utterance,Speaker,Emotion,Dialogue_ID\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"train_sent_emo.csv lacks the column 'Utterance_ID'"):
        scan(folder)
    (folder / "dev_sent_emo.csv").unlink()
    (folder / "train_sent_emo.csv").unlink()
    with pytest.raises(ManifestError, match=r"no dev_sent_emo.csv below it; `path` is the folder of MELD"):
        scan(folder)


def test_the_small_release_becomes_a_manifest(tmp_path: Path):
    tree = meld.make_tree(tmp_path / "MELD")
    config = {"corpus": {"name": "meld", "path": str(tree)}, "out": tmp_path / "m.parquet"}
    with pytest.raises(ManifestError, match=r"1 fault; .*\n.*clip 'train_dia125_utt3', path: .*dia125_utt3.mp4"):
        build_manifest(parse_config(ManifestConfig, config, "test"))
    summary = build_manifest(parse_config(ManifestConfig, {**config, "keep_going": True}, "test"))
    assert summary.splits == {"dev": 8, "test": 7, "train": 21} and summary.num_faults == 1
    assert (summary.num_audio, summary.num_video, summary.num_text, summary.num_speakers) == (35, 35, 36, 4)
    assert "1 rows have no video and are clips with text only: dev_dia110_utt7" in summary.notes


def test_a_linked_folder_is_the_first_fault(folder: Path):
    (folder / "dev_splits_complete").rename(folder.parent / "elsewhere")
    (folder / "dev_splits_complete").symlink_to(folder.parent / "elsewhere")
    found = scan(folder)
    assert [(fault.row, fault.clip_id) for fault in found.faults] == [(1, None), (None, None)]
    assert list(found.row_numbers) == [2, 3, 4]


def test_a_split_without_any_video_stops_also_those_who_keep_going(folder: Path, tmp_path: Path):
    (folder / FOLDERS["dev"] / "dia0_utt0.mp4").unlink()
    (fault,) = scan(folder).faults
    assert str(fault) == (
        "corpus, path: none of the dev utterances has a video; allowed: the archive unpacked as dev_splits_complete/, "
        "or corpus.text_only: true for the sentences alone"
    ).removeprefix("corpus, ")
    config = {"corpus": {"name": "meld", "path": str(folder)}, "out": tmp_path / "m.parquet", "keep_going": True}
    with pytest.raises(ManifestError, match="none of the dev utterances has a video"):
        build_manifest(ManifestConfig.model_validate(config))
    assert list(scan(folder, text_only=True).faults) == []
