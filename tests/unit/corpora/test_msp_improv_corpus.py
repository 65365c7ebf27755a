from pathlib import Path

import pytest
from corpus_trees import msp_improv

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora._base import Scan
from mer_ray.corpora.msp_improv import MspImprovCorpusConfig
from mer_ray.corpora.validation import check_rows
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

ANGRY, SAD = "S01A-F01-P-FM01", "S02S-M06-R-MF012"


def label_line(key: str, letter: str = "A", activation: str = "1.5", dominance: str = "4.0") -> str:
    return f"UTD-IMPROV-{key}.avi; {letter}; A:{activation}; V:2.0; D:{dominance} ; N:3.5;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two turns; no media is opened by a scan."""
    for number, key in enumerate((ANGRY, SAD), start=1):
        place = tmp_path / "MSP" / f"session{number}"
        place.mkdir(parents=True)
        (place / f"MSP-IMPROV-{key}.wav").touch()
        (place / f"UTD-IMPROV-{key}.avi").touch()
    write_labels(tmp_path / "MSP", label_line(ANGRY), label_line(SAD, "S", "NaN", "NaN"))
    return tmp_path / "MSP"


def write_labels(folder: Path, *lines: str, end: str = "\n") -> None:
    (folder / "Evaluation.txt").write_text(end.join(lines), encoding="utf-8", newline="")


def scan(folder: Path, **options: object) -> Scan:
    return MspImprovCorpusConfig(path=str(folder), **options).build().scan()


def test_sound_and_video_of_other_prefixes_are_one_turn(folder: Path):
    columns = ["clip_id", "path", "audio_path", "video_path", "speaker_id", "sex", "fold", "split", "language", "emotion"]
    assert [tuple(row.values()) for row in scan(folder).table.select(columns).to_pylist()] == [
        (ANGRY, None, f"session1/MSP-IMPROV-{ANGRY}.wav", f"session1/UTD-IMPROV-{ANGRY}.avi", "F01", "female", 0, None, "en", "angry"),
        (SAD, None, f"session2/MSP-IMPROV-{SAD}.wav", f"session2/UTD-IMPROV-{SAD}.avi", "M06", "male", 5, None, "en", "sad"),
    ]
    assert scan(folder, session_folds=False).table["fold"].to_pylist() == [None, None]


def test_a_linked_folder_is_the_first_fault_and_its_turns_follow(folder: Path):
    (folder / "session2").rename(folder.parent / "elsewhere")
    (folder / "session2").symlink_to(folder.parent / "elsewhere")
    write_labels(folder, label_line(ANGRY), "UTD-IMPROV-S01A; ?", label_line(SAD))
    found = scan(folder)
    assert [(fault.row, fault.clip_id) for fault in found.faults] == [(1, None), (3, None), (4, SAD)]
    assert "'session2' is a symbolic link to a folder, which is not followed" in found.faults[0].what
    assert (found.table["clip_id"].to_pylist(), list(found.row_numbers)) == ([ANGRY], [2])


def test_activation_is_turned_and_nan_is_unknown(folder: Path):
    values = ["arousal", "valence", "dominance"]
    assert scan(folder).table.select(values).to_pylist() == [
        {"arousal": 4.5, "valence": 2.0, "dominance": 4.0},
        {"arousal": None, "valence": 2.0, "dominance": None},
    ]
    assert scan(folder, scale_values=True).table.select(values).to_pylist()[0] == {"arousal": 0.875, "valence": 0.25, "dominance": 0.75}
    corpus = MspImprovCorpusConfig(path=str(folder), scale_values=True).build()
    assert corpus.facts().value_ranges == dict.fromkeys(("valence", "arousal", "dominance"), (0.0, 1.0))
    assert check_rows(corpus.scan(), corpus.facts()) == []
    assert "academic" in str(corpus.facts().licence)


def test_no_agreement_names_no_class_and_other_only_on_demand(folder: Path):
    write_labels(folder, label_line(ANGRY, "X"), label_line(SAD, "O"))
    plain = scan(folder)
    assert plain.table["emotion"].to_pylist() == [None, None]
    assert "2 turns name no class: 1 no agreement, 1 other" in plain.notes
    corpus = MspImprovCorpusConfig(path=str(folder), keep_other=True).build()
    assert corpus.scan().table["emotion"].to_pylist() == [None, "other"]
    assert corpus.facts().classes == ("angry", "sad", "happy", "neutral", "other")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_raters_are_passed_over_with_any_line_ends(folder: Path, end: str):
    rater = "Rater-7; Angry; Angry,Frustrated; A:5.000000; V:5.000000; D:5.000000; N:1.000000;"
    write_labels(folder, label_line(ANGRY), rater, rater, "", label_line(SAD, "S"), rater, end=end)
    found = scan(folder)
    assert found.table["clip_id"].to_pylist() == [ANGRY, SAD] and list(found.faults) == []
    assert found.table["valence"].to_pylist() == [2.0, 2.0]


def test_scenarios_are_chosen_and_counted(folder: Path):
    read = scan(folder, scenarios=["R"])
    assert read.table["clip_id"].to_pylist() == [SAD]
    assert list(read.notes) == ["msp_improv was published with 620 clips in scenario R; here are 1"]
    assert "msp_improv was published with 792 clips in angry; here are 1" in scan(folder).notes
    with pytest.raises(ConfigError, match="scenarios"):
        parse_config(MspImprovCorpusConfig, {"path": "x", "scenarios": ["Q"]}, "test")
    with pytest.raises(ConfigError, match="listed twice"):
        parse_config(MspImprovCorpusConfig, {"path": "x", "scenarios": ["R", "R"]}, "test")


def test_labels_without_media_and_media_without_label_are_told(folder: Path):
    write_labels(folder, label_line("S09H-F02-S-FM02", "H"), label_line(SAD, "S"))
    (folder / "session2" / f"UTD-IMPROV-{SAD}.avi").unlink()
    found = scan(folder)
    assert [(fault.row, fault.clip_id, fault.column) for fault in found.faults] == [(1, "S09H-F02-S-FM02", "path")]
    assert found.table.select(["clip_id", "video_path"]).to_pylist() == [{"clip_id": SAD, "video_path": None}]
    assert f"1 turns have sound but no video: {SAD}" in found.notes
    assert f"1 turns have files but no label and are left out: {ANGRY}" in found.notes


def test_turns_that_stand_twice_are_faults(folder: Path):
    (folder / "copy").mkdir()
    (folder / "copy" / f"MSP-IMPROV-{ANGRY}.wav").touch()
    write_labels(folder, label_line(ANGRY), label_line(SAD, "S"), label_line(SAD, "N"))
    corpus = MspImprovCorpusConfig(path=str(folder)).build()
    faults = [*corpus.scan().faults, *check_rows(corpus.scan(), corpus.facts())]
    assert [(fault.row, fault.column) for fault in faults] == [(1, "audio_path"), (2, "clip_id"), (3, "clip_id")]
    assert "copy/MSP-IMPROV" in faults[0].what and "session1/MSP-IMPROV" in faults[0].what


def test_broken_label_lines_are_faults_of_their_own_row(folder: Path):
    write_labels(folder, label_line(ANGRY).replace("V:2.0", "V:two"), label_line(SAD, "Q"), label_line(SAD, "S"))
    found = scan(folder)
    assert [fault.row for fault in found.faults] == [1, 2] and found.row_numbers == [3]
    assert "line 1 is no label" in found.faults[0].what and "unknown letter 'Q'" in found.faults[1].what


def test_a_value_beyond_the_scale_is_a_fault(folder: Path):
    write_labels(folder, label_line(ANGRY, activation="0.5"), label_line(SAD, "S"))
    corpus = MspImprovCorpusConfig(path=str(folder)).build()
    assert [(fault.row, fault.column, fault.what) for fault in check_rows(corpus.scan(), corpus.facts())] == [
        (1, "arousal", "5.5 is out of range")
    ]


def test_the_table_of_vavl_is_not_turned_again(folder: Path, tmp_path: Path):
    table = tmp_path / "vavl.csv"
    table.write_text(
        "FileName,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
        f"UTD-IMPROV-{ANGRY}.avi,4.25,2.5,NaN,1,Female,Development\n"
        f"MSP-IMPROV-{SAD}.wav,much,2.0,2.0,12,Male,Train\n"
        f"MSP-IMPROV-{SAD}.wav,1.0,2.0,2.0,12,Male,Extra\n"
        "S01A.wav,1.0,2.0,2.0,12,Male,Test\n",
        encoding="utf-8",
    )
    found = scan(folder, labels_csv=str(table))
    assert found.table.select(["clip_id", "split", "emotion", "arousal", "valence", "dominance", "fold"]).to_pylist() == [
        {"clip_id": ANGRY, "split": "dev", "emotion": "angry", "arousal": 4.25, "valence": 2.5, "dominance": None, "fold": 0}
    ]
    assert [(fault.row, fault.column) for fault in found.faults] == [(2, "arousal"), (3, "split"), (4, "clip_id")]
    assert "vavl.csv: line 3: EmoAct 'much' does not fit" in found.faults[0].what
    config = MspImprovCorpusConfig(path=str(folder), labels_csv=str(table))
    assert config.places() == (str(folder), str(table))
    table.write_text("FileName,EmoAct\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="lacks the column EmoVal"):
        scan(folder, labels_csv=str(table))


def test_another_folder_says_what_it_lacks(folder: Path, tmp_path: Path):
    (folder / "Evaluation.txt").rename(folder / "Evalution.txt")  # as the release spells it
    assert scan(folder).table.num_rows == 2
    write_labels(folder, label_line(ANGRY))
    with pytest.raises(ManifestError, match=r"Evaluation.txt and Evalution.txt: only one of them can hold the labels"):
        scan(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match=r"no Evaluation.txt or Evalution.txt below it; `path` is the folder of MSP-IMPROV"):
        scan(tmp_path / "empty")
    (folder / "Evalution.txt").unlink()
    write_labels(folder, "Rater; Angry; Angry; A:1.0; V:1.0; D:1.0; N:1.0;")
    with pytest.raises(ManifestError, match="holds no line that begins with UTD-IMPROV-"):
        scan(folder)
    (folder / "Evaluation.txt").write_bytes(b"first\nsecond \xff\n")
    with pytest.raises(ManifestError, match=r"Evaluation.txt: line 2 is not UTF-8"):
        scan(folder)


def test_the_small_release_becomes_a_manifest(tmp_path: Path):
    tree = msp_improv.make_tree(tmp_path / "MSP-IMPROV", num_sessions=2)
    corpus = {"name": "msp_improv", "path": str(tree)}
    summary = build_manifest(parse_config(ManifestConfig, {"corpus": corpus, "out": tmp_path / "m.parquet"}, "test"))
    assert (summary.num_clips, summary.num_audio, summary.num_video, summary.num_text) == (20, 20, 20, 16)
    assert summary.folds == {0: 10, 1: 10} and summary.num_speakers == 4 and summary.num_faults == 0
    assert summary.classes == {"angry": 4, "sad": 4, "happy": 4, "neutral": 4}
    assert "1 turns have files but no label and are left out: S20N-F01-T-FM99" in summary.notes
    rows = {row["clip_id"]: row for row in read_manifest(tmp_path / "m.parquet").table.to_pylist()}
    assert rows["S01A-F01-P-FM00"]["text"] == "how can I not" and rows["S01A-F01-P-FM00"]["arousal"] == pytest.approx(4.5)
    unknown = {row["clip_id"] for row in rows.values() if row["arousal"] is None}
    assert unknown == {turn.key for turn in msp_improv.turns(2) if turn.number % 7 == 6} and len(unknown) == 2
