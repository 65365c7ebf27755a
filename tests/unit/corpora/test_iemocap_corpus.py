from pathlib import Path

import pytest
from corpus_trees import iemocap

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.core.media_types import AudioFormat
from mer_ray.corpora._base import Scan
from mer_ray.corpora.iemocap import NUM_LABELS, IemocapCorpusConfig
from mer_ray.corpora.validation import check_rows
from mer_ray.decoders.clip import decode_clip
from mer_ray.decoders.limits import MediaLimits
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

DIALOGUE = "Ses02F_script01_1"
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"


def label_line(name: str, label: str = "neu", times: str = "1.5000 - 3.2500", values: str = "2.5000, 3.0000, 4.0000") -> str:
    return f"[{times}]\t{DIALOGUE}_{name}\t{label}\t[{values}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One dialogue of two utterances; no media is opened by a scan."""
    session = tmp_path / "IEMOCAP_full_release" / "Session2"
    for name in ("dialog/EmoEvaluation/Attribute", "dialog/transcriptions", "dialog/avi/DivX", f"sentences/wav/{DIALOGUE}"):
        (session / name).mkdir(parents=True)
    write_labels(session, label_line("F000"), label_line("M001", "exc", "4.0000 - 5.0000"))
    write_words(session, f"{DIALOGUE}_F000 [001.5000-003.2500]: Excuse me.", "M: (breathing)", f"{DIALOGUE}_MXX0 [003.3-003.9]: Hm.")
    (session / "dialog" / "avi" / "DivX" / f"{DIALOGUE}.avi").touch()
    for name in ("F000", "M001"):
        (session / "sentences" / "wav" / DIALOGUE / f"{DIALOGUE}_{name}.wav").touch()
    return tmp_path


def write_labels(session: Path, *lines: str, end: str = "\n") -> None:
    (session / "dialog" / "EmoEvaluation" / f"{DIALOGUE}.txt").write_text(end.join([HEADER, "", *lines]), encoding="utf-8", newline="")


def write_words(session: Path, *lines: str) -> None:
    (session / "dialog" / "transcriptions" / f"{DIALOGUE}.txt").write_text("\r\n".join(lines), encoding="utf-8", newline="")


def session_of(folder: Path) -> Path:
    return folder / "IEMOCAP_full_release" / "Session2"


def scan(folder: Path, **options: object) -> Scan:
    return IemocapCorpusConfig(path=str(folder), **options).build().scan()


def test_utterances_are_segments_of_their_dialogue(folder: Path):
    avi = f"IEMOCAP_full_release/Session2/dialog/avi/DivX/{DIALOGUE}.avi"
    columns = ["clip_id", "path", "audio_path", "start_s", "end_s", "speaker_id", "sex", "fold", "text", "emotion"]
    assert [tuple(row.values()) for row in scan(folder).table.select(columns).to_pylist()] == [
        (f"{DIALOGUE}_F000", avi, None, 1.5, 3.25, "Ses02F", "female", 1, "Excuse me.", "neutral"),
        # The woman wears the markers, the man speaks.
        (f"{DIALOGUE}_M001", avi, None, 4.0, 5.0, "Ses02M", "male", 1, None, "happy"),
    ]
    values = scan(folder).table.select(["valence", "arousal", "dominance"]).to_pylist()[0]
    assert values == {"valence": 2.5, "arousal": 3.0, "dominance": 4.0}
    assert f"1 utterances have no words in transcriptions/: {DIALOGUE}_M001" in scan(folder).notes
    assert scan(folder, session_folds=False).table["fold"].to_pylist() == [None, None]


def test_sound_alone_is_the_file_of_the_sentence_without_times(folder: Path):
    row = scan(folder, modality="audio").table.select(["path", "audio_path", "video_path", "start_s", "end_s"]).to_pylist()[1]
    wav = f"IEMOCAP_full_release/Session2/sentences/wav/{DIALOGUE}/{DIALOGUE}_M001.wav"
    assert row == {"path": None, "audio_path": wav, "video_path": None, "start_s": None, "end_s": None}


def test_classes_of_the_protocols(folder: Path):
    labels = list(NUM_LABELS)
    write_labels(session_of(folder), *[label_line(f"F{number:03d}", label) for number, label in enumerate(labels)])
    four, six, everything = (scan(folder, classes=classes).table["emotion"].to_pylist() for classes in (4, 6, "all"))
    assert labels == ["ang", "hap", "sad", "neu", "exc", "fru", "sur", "fea", "dis", "oth", "xxx"]
    assert four == ["angry", "happy", "sad", "neutral", "happy", *[None] * 6]
    assert six == ["angry", "happy", "sad", "neutral", "excited", "frustrated", *[None] * 5]
    assert everything == [*six[:6], "surprised", "fearful", "disgusted", None, None]
    assert "6 utterances name no class of the chosen ones: 1 dis, 1 fea, 1 fru, 1 oth, 1 sur, 1 xxx" in scan(folder).notes
    facts = IemocapCorpusConfig(path=str(folder)).build().facts()
    assert facts.classes == ("angry", "happy", "sad", "neutral") and facts.value_ranges["arousal"] == (1.0, 5.0)
    assert sum(NUM_LABELS.values()) == 10039 and "Southern California" in str(facts.licence)
    with pytest.raises(ConfigError, match="classes"):
        parse_config(IemocapCorpusConfig, {"path": "x", "classes": 5}, "test")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_raters_and_hidden_files_are_passed_over(folder: Path, end: str):
    raters = ("C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t([angry])")
    write_labels(session_of(folder), label_line("F000"), *raters, "", label_line("M001"), *raters, end=end)
    evaluation = session_of(folder) / "dialog" / "EmoEvaluation"
    (evaluation / f"._{DIALOGUE}.txt").write_bytes(b"\x00\x05\xff")
    (evaluation / "Attribute" / f"{DIALOGUE}_e2_atr.txt").write_text("[no label]", encoding="utf-8")
    (session_of(folder) / "dialog" / "avi" / "DivX" / f"._{DIALOGUE}.avi").touch()
    found = scan(folder)
    assert found.table.num_rows == 2 and list(found.faults) == []


def test_broken_label_lines_and_names_that_stand_twice_are_faults(folder: Path):
    write_labels(
        session_of(folder), label_line("F000"), label_line("F001", times="x - 2.0"), label_line("F002", "bad"), label_line("F000", "sad")
    )
    corpus = IemocapCorpusConfig(path=str(folder)).build()
    faults = [*corpus.scan().faults, *check_rows(corpus.scan(), corpus.facts())]
    assert [(fault.row, fault.column) for fault in faults] == [(2, "emotion"), (3, "emotion"), (1, "clip_id"), (4, "clip_id")]
    assert "line 4 is no label" in faults[0].what and "unknown label 'bad'" in faults[1].what


def test_labels_without_media_and_media_without_label_are_told(folder: Path):
    sentences = session_of(folder) / "sentences" / "wav" / DIALOGUE
    (sentences / f"{DIALOGUE}_F000.wav").rename(sentences / f"{DIALOGUE}_F009.wav")
    found = scan(folder, modality="audio")
    assert [(fault.row, fault.clip_id, fault.what) for fault in found.faults] == [(1, f"{DIALOGUE}_F000", f"no {DIALOGUE}_F000")]
    assert f"1 media files have no label and are left out: {DIALOGUE}_F009" in found.notes
    (session_of(folder) / "dialog" / "avi" / "DivX" / f"{DIALOGUE}.avi").unlink()
    assert [fault.row for fault in scan(folder).faults] == [1, 2]


def test_values_that_no_rater_could_give_are_unknown_and_said(folder: Path):
    write_labels(session_of(folder), label_line("F000", values="5.5000, 3.0000, 0.5000"))
    found = scan(folder)
    assert found.table.select(["valence", "arousal", "dominance"]).to_pylist() == [{"valence": None, "arousal": 3.0, "dominance": None}]
    name = f"{DIALOGUE}_F000"
    assert f"2 values outside of 1 to 5 are unknown: {name} dominance 0.5, {name} valence 5.5" in found.notes


def test_other_words_for_one_utterance_are_said(folder: Path):
    line = f"{DIALOGUE}_F000 [001.5000-003.2500]: "
    write_words(session_of(folder), f"{line}Excuse me.", f"{line}Excuse me!")
    assert scan(folder).table["text"].to_pylist()[0] == "Excuse me."
    assert f"1 utterances are transcribed twice, the first words count: {DIALOGUE}_F000" in scan(folder).notes


def test_another_folder_says_what_it_lacks(tmp_path: Path):
    with pytest.raises(ManifestError, match=r"no Session1/dialog/EmoEvaluation/Ses\*.txt below it; `path` is the folder of IEMOCAP"):
        scan(tmp_path)


def test_the_small_release_becomes_a_manifest(tmp_path: Path):
    tree = iemocap.make_tree(tmp_path / "IEMOCAP")
    config = {"corpus": {"name": "iemocap", "path": str(tree)}, "out": tmp_path / "m.parquet"}
    summary = build_manifest(parse_config(ManifestConfig, config, "test"))
    assert (summary.num_clips, summary.num_audio, summary.num_video, summary.num_text) == (35, 35, 35, 35)
    assert summary.folds == dict.fromkeys(range(5), 7) and summary.num_speakers == 10 and summary.num_faults == 0
    assert summary.classes == {"angry": 5, "happy": 10, "sad": 5, "neutral": 5}
    clip = read_manifest(tmp_path / "m.parquet").clips()[1]
    sound = decode_clip(clip, [AudioFormat(16000)], MediaLimits())[AudioFormat(16000)]
    assert len(sound.samples) == pytest.approx(16000 * iemocap.DURATION_S, abs=800)
    config["corpus"]["modality"] = "audio"
    summary = build_manifest(parse_config(ManifestConfig, config, "test"))
    assert (summary.num_clips, summary.num_audio, summary.num_video) == (35, 35, 0)


def test_a_segment_beyond_the_end_of_its_dialogue_is_a_fault(tmp_path: Path):
    tree = iemocap.make_tree(tmp_path / "IEMOCAP")
    labels = tree / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    labels.write_text(labels.read_text(encoding="utf-8").replace("[4.2000 - 4.9000]", "[4.2000 - 9.0000]"), encoding="utf-8")
    config = {"corpus": {"name": "iemocap", "path": str(tree)}, "out": tmp_path / "m.parquet"}
    with pytest.raises(ManifestError, match=r"clip 'Ses01F_impro01_F006', end_s: 9.0 lies beyond the end; allowed: at most 4.9"):
        build_manifest(parse_config(ManifestConfig, config, "test"))


def test_a_linked_folder_is_named_before_the_labels_that_lack_its_videos(folder: Path):
    videos = session_of(folder) / "dialog" / "avi" / "DivX"
    videos.rename(folder / "elsewhere")
    videos.symlink_to(folder / "elsewhere")
    faults = IemocapCorpusConfig(path=str(folder)).build().scan().faults
    assert [fault.row for fault in faults] == [1, 2, 3]
    assert "dialog/avi/DivX' is a symbolic link to a folder, which is not followed; put the folder itself there" in faults[0].what
