import shutil
from collections import Counter
from pathlib import Path

import pytest
from corpus_trees.crema_d import ACTORS, Acted, acted_clips, make_tree, write_rows, write_vavl_table, write_votes

from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora.crema_d import CremaDCorpusConfig
from mer_ray.corpora.crema_d_names import read_name
from mer_ray.corpora.validation import check_rows
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("released") / "CREMA-D")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The names of a small copy, without content."""
    for name in ("AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv"):
        touch(tmp_path / name)
    return tmp_path


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def scan(folder: Path, **options):
    return CremaDCorpusConfig(path=str(folder), **options).build().scan()


def rows_of(found) -> dict[str, dict]:
    return {row["clip_id"]: row for row in found.table.to_pylist()}


def test_acted_labels_of_the_released_layout(tree: Path):
    found = scan(tree)
    assert list(found.faults) == []
    rows = rows_of(found)
    assert len(rows) == len(acted_clips()) - 2
    row = {name: value for name, value in rows["1037_DFA_HAP_XX"].items() if value is not None}
    assert row == {
        "clip_id": "1037_DFA_HAP_XX",
        "audio_path": "AudioWAV/1037_DFA_HAP_XX.wav",
        "video_path": "VideoFlash/1037_DFA_HAP_XX.flv",
        "speaker_id": "1037",
        "sex": "female",
        "language": "en",
        "emotion": "happy",
    }
    assert Counter(row["emotion"] for row in rows.values()) == dict.fromkeys(CLASSES, 5) | {"angry": 10}
    facts = CremaDCorpusConfig(path=str(tree)).build().facts()
    assert (facts.corpus, facts.classes) == ("crema_d", CLASSES)
    assert facts.licence is not None and facts.licence.startswith("ODbL 1.0")


def test_broken_clips_are_left_out_with_the_reason_and_counts_are_compared(tree: Path):
    assert list(scan(tree).notes) == [
        "crema_d was published with 7442 clips in AudioWAV; here are 37",
        "crema_d was published with 7442 clips in VideoFlash; here are 37",
        "1064_IEO_DIS_MD is left out: its video is one minute long and shows all emotions (README of the release)",
        "1076_MTI_SAD_XX is left out: its video is one wrong picture without sound, its sound is empty (README of the release)",
    ]


@pytest.mark.parametrize(
    ("rated", "shares", "emotion"),
    [
        ("audio_visual", [0.5, 0.5, 0, 0, 0, 0], None),
        ("face", [0.8, 0.2, 0, 0, 0, 0], "angry"),
        ("voice", [0.6, 0, 0, 0, 0.4, 0], "angry"),
    ],
)
def test_perceived_labels_are_shares_of_votes_and_a_tie_names_no_class(tree: Path, rated: str, shares: list[float], emotion: str | None):
    found = scan(tree, labels="perceived", rated=rated)
    assert list(found.faults) == []
    row = rows_of(found)["1019_IEO_ANG_MD"]
    assert row["emotion"] == emotion
    assert row["emotion_probs"] == pytest.approx(shares)
    assert check_rows(found, CremaDCorpusConfig(path=str(tree)).build().facts()) == []


def test_acted_and_perceived_labels_of_one_clip_differ(tree: Path, tmp_path: Path):
    shutil.copytree(tree, tmp_path / "copy")
    shown = [clip if clip.name != "1001_DFA_SAD_XX" else Acted("1001_DFA_SAD_XX", 0, is_tied=True) for clip in acted_clips()]
    write_votes(tmp_path / "copy" / "processedResults" / "tabulatedVotes.csv", shown)
    assert rows_of(scan(tmp_path / "copy"))["1001_DFA_SAD_XX"]["emotion"] == "sad"
    assert rows_of(scan(tmp_path / "copy", labels="perceived"))["1001_DFA_SAD_XX"]["emotion"] is None


def test_perceived_labels_need_the_table_of_votes(folder: Path):
    with pytest.raises(ManifestError, match=r"needs processedResults/tabulatedVotes.csv .* mirror on GitLab lacks the table"):
        scan(folder, labels="perceived")


def test_a_clip_without_votes_and_lines_that_do_not_fit_are_faults(folder: Path):
    touch(folder / "AudioWAV/1002_DFA_SAD_XX.wav")
    touch(folder / "VideoFlash/1002_DFA_SAD_XX.flv")
    (folder / "processedResults").mkdir()
    header = ("", *"ADFHNS", "fileName")
    lines = [("300001", 5, 0, 0, 0, 1, 0, "1001_DFA_ANG_XX"), ("300002", 0, 0, 0, 0, 0, 0, "1002_DFA_SAD_XX")]
    lines += [("300003", 5, 0, 0, 0, "NA", 0, "1003_DFA_SAD_XX"), ("300004", 5, 0, 0, 0, 1, 0, "1001_DFA_ANG_XX")]
    lines += [("300005", 1, 0, 0, 0, 0, 0, "clip5"), ("100001", 0, 5, 0, 0, 0, 0, "1001_DFA_ANG_XX")]
    write_rows(folder / "processedResults" / "tabulatedVotes.csv", header, lines)
    found = scan(folder, labels="perceived")
    assert [row["emotion"] for row in found.table.to_pylist()] == ["angry"]
    assert [(fault.row, fault.clip_id, fault.what) for fault in found.faults] == [
        (None, "1002_DFA_SAD_XX", "tabulatedVotes.csv line 3: row name '300002', votes 0, 0, 0, 0, 0, 0"),
        (None, "1003_DFA_SAD_XX", "tabulatedVotes.csv line 4: row name '300003', votes 5, 0, 0, 0, NA, 0"),
        (None, "1001_DFA_ANG_XX", "tabulatedVotes.csv line 5: stands twice in the table"),
        (None, "clip5", "tabulatedVotes.csv line 6: 'clip5' is no clip of CREMA-D"),
        (2, "1002_DFA_SAD_XX", "processedResults/tabulatedVotes.csv has no votes for it"),
    ]


def test_a_table_of_votes_of_other_columns_is_an_error(folder: Path):
    (folder / "processedResults").mkdir()
    write_rows(folder / "processedResults" / "tabulatedVotes.csv", ("fileName", "emoVote"), [("1001_DFA_ANG_XX", "A")])
    with pytest.raises(ManifestError, match=r"lacks the columns '', 'A', 'D', 'F', 'H', 'N', 'S'; it has 'fileName', 'emoVote'"):
        scan(folder, labels="perceived")


def test_soft_labels_and_splits_of_vavl(tree: Path, tmp_path: Path):
    clips = [clip for clip in acted_clips() if "SAD" not in clip.name]
    table = write_vavl_table(tmp_path / "labels.csv", [*clips, Acted("1091_TSI_ANG_XX", 0)][:-1])
    found = scan(tree, labels="vavl", labels_csv=str(table))
    rows = rows_of(found)
    assert Counter(row["split"] for row in rows.values()) == {"train": 18, "dev": 6, "test": 6}
    assert rows["1064_DFA_DIS_XX"]["emotion_probs"] == pytest.approx([0, 0.8, 0.2, 0, 0, 0])
    assert rows["1064_DFA_DIS_XX"]["emotion"] == "disgust"
    assert rows["1076_IEO_ANG_MD"]["emotion"] is None
    assert "VAVL's part of crema_d was published with 5820 clips in its table; here are 31" in found.notes
    assert any(note.startswith("6 clips are not in") and "1001_DFA_SAD_XX, 1019_DFA_SAD_XX" in note for note in found.notes)


def test_lines_of_a_vavl_table_that_do_not_fit_are_faults(folder: Path, tmp_path: Path):
    header = ["FileName", "angry", "sad", "disgust", "fear", "neutral", "happy", "SpkrID", "Gender", "Split_Set"]
    lines = [
        ("1001_DFA_ANG_XX.wav", 1, 0, 0, 0, 0, 0, "1001", "Male", "Train"),
        ("1002_DFA_ANG_XX.wav", 1, 1, 0, 0, 0, 0, "1002", "Male", "Train"),
        ("1003_DFA_ANG_XX.wav", 1, 0, 0, 0, 0, 0, "1003", "Male", "Test3"),
        ("1004_DFA_ANG_XX.wav", "", "", "", "", "", "", "1004", "Male", "Test"),
        ("1005_DFA_ANG_XX.wav", 1, 0, 0, 0, 0, 0, "1005", "Male", "Test"),
    ]
    write_rows(tmp_path / "vavl.csv", header, lines)
    found = scan(folder, labels="vavl", labels_csv=str(tmp_path / "vavl.csv"))
    assert [row["split"] for row in found.table.to_pylist()] == ["train"]
    assert [(fault.clip_id, fault.column) for fault in found.faults] == [
        ("1002_DFA_ANG_XX", "emotion_probs"),
        ("1003_DFA_ANG_XX", "split"),
        ("1004_DFA_ANG_XX", "emotion_probs"),
    ]
    assert "line 4: unknown Split_Set 'Test3'" in found.faults[1].what
    assert any(note.startswith("1 clips of") and note.endswith("have no file here: 1005_DFA_ANG_XX") for note in found.notes)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"labels": "vavl"}, "labels: vavl and labels_csv go together"),
        ({"labels_csv": "labels.csv"}, "labels: vavl and labels_csv go together"),
        ({"rated": "face"}, "only labels: perceived are of raters"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, str], expected: str):
    with pytest.raises((ConfigError, ValueError), match=expected):
        CremaDCorpusConfig(path="x", **options)


def test_the_table_of_labels_is_a_place_that_decides_the_manifest():
    assert CremaDCorpusConfig(path="x", labels="vavl", labels_csv="labels.csv").places() == ("x", "labels.csv")
    assert CremaDCorpusConfig(path="x").places() == ("x",)


@pytest.mark.parametrize(
    ("stem", "clip_id"),
    [
        ("1001_IEO_NEU_XX", "1001_IEO_NEU_XX"),
        ("1091_TSI_ANG_LO", "1091_TSI_ANG_LO"),
        ("1040_ITH_SAD_MD", "1040_ITH_SAD_MD"),
        ("1040_ITH_SAD_HI", "1040_ITH_SAD_HI"),
        ("1040_ITH_SAD_X", "1040_ITH_SAD_XX"),
        ("1000_IEO_NEU_XX", None),
        ("1092_IEO_NEU_XX", None),
        ("1001_ABC_NEU_XX", None),
        ("1001_IEO_SUR_XX", None),
        ("1001_IEO_NEU_XXX", None),
        ("1001_ieo_neu_xx", None),
        ("1001_IEO_NEU_XX (1)", None),
    ],
)
def test_names(stem: str, clip_id: str | None):
    name = read_name(stem)
    assert (name.clip_id if name is not None else None) == clip_id


def test_the_folds_of_hicmae_follow_the_order_of_actors(tree: Path):
    actors = {1001: 0, 1018: 0, 1019: 1, 1036: 1, 1037: 2, 1054: 2, 1055: 3, 1072: 3, 1073: 4, 1090: 4, 1091: 4}
    assert {actor: read_name(f"{actor}_IEO_NEU_XX").hicmae_fold for actor in actors} == actors
    rows = scan(tree, hicmae_folds=True).table.to_pylist()
    assert {row["speaker_id"]: row["fold"] for row in rows} == {actor: fold for fold, actor in enumerate(ACTORS)}
    assert {row["fold"] for row in scan(tree).table.to_pylist()} == {None}


def test_suffixes_in_capitals_and_the_one_misnamed_clip_of_older_copies(tmp_path: Path):
    touch(tmp_path / "AudioWAV/1040_ITH_SAD_X.WAV")
    touch(tmp_path / "VideoFlash/1040_ITH_SAD_XX.FLV")
    rows = scan(tmp_path).table.select(["clip_id", "audio_path", "video_path"]).to_pylist()
    paths = {"audio_path": "AudioWAV/1040_ITH_SAD_X.WAV", "video_path": "VideoFlash/1040_ITH_SAD_XX.FLV"}
    assert rows == [{"clip_id": "1040_ITH_SAD_XX", **paths}]


def test_foreign_files_are_faults_and_what_lies_beside_the_media_is_not_read(folder: Path):
    others = (
        "AudioWAV/readme.txt",
        "AudioWAV/1001_DFA_ANG_XX (1).wav",
        "AudioWAV/more/1001_DFA_SAD_XX.wav",
        "VideoFlash/1001_DFA_SAD_XX.mp4",
    )
    for name in (
        *others,
        "AudioMP3/1001_DFA_ANG_XX.mp3",
        "README.md",
        "VideoFlash/1015_DFA_ANG_XX.mp4",
        "AudioWAV/Thumbs.db",
        "VideoFlash/desktop.ini",
    ):
        touch(folder / name)
    found = scan(folder)
    assert found.table["clip_id"].to_pylist() == ["1001_DFA_ANG_XX"]
    assert sorted(fault.what for fault in found.faults) == sorted(f"{name!r} is no file of CREMA-D" for name in others)
    assert "names like 1001_IEO_NEU_XX: actor (1001 to 1091)" in found.faults[0].allowed
    assert not {fault.row for fault in found.faults} & set(found.row_numbers)


def test_a_clip_that_lies_twice_is_a_fault(folder: Path):
    touch(folder / "AudioWAV/1001_DFA_ANG_XX.WAV")
    touch(folder / "AudioWAV/1040_ITH_SAD_X.wav")
    touch(folder / "AudioWAV/1040_ITH_SAD_XX.wav")
    found = scan(folder)
    assert found.table.num_rows == 0
    assert [fault.what for fault in found.faults] == [
        "AudioWAV/1001_DFA_ANG_XX.WAV and AudioWAV/1001_DFA_ANG_XX.wav are one clip",
        "AudioWAV/1040_ITH_SAD_X.wav and AudioWAV/1040_ITH_SAD_XX.wav are one clip",
    ]


def test_a_video_that_is_missing_beside_its_sound_is_told(folder: Path):
    touch(folder / "AudioWAV/1002_DFA_SAD_XX.wav")
    found = scan(folder)
    assert list(found.faults) == []
    assert rows_of(found)["1002_DFA_SAD_XX"]["video_path"] is None
    assert rows_of(found)["1001_DFA_ANG_XX"]["video_path"] == "VideoFlash/1001_DFA_ANG_XX.flv"
    assert "1 clips have no file in VideoFlash and go without it: 1002_DFA_SAD_XX" in found.notes


@pytest.mark.parametrize("place", ["AudioWAV", "."])
def test_sound_alone_with_and_without_its_folder(tmp_path: Path, place: str):
    touch(tmp_path / place / "1001_DFA_ANG_XX.wav")
    found = scan(tmp_path)
    row = found.table.to_pylist()[0]
    assert row["audio_path"] == ("AudioWAV/" if place != "." else "") + "1001_DFA_ANG_XX.wav"
    assert row["video_path"] is None and row["path"] is None
    assert "crema_d was published with 7442 clips in VideoFlash; here are 0" in found.notes


def test_two_clips_of_one_recording_take_the_sound_of_their_videos(tmp_path: Path):
    pair = ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX")
    for name in pair:
        touch(tmp_path / "AudioWAV" / f"{name}.wav")
        touch(tmp_path / "VideoFlash" / f"{name}.flv")
    found = scan(tmp_path)
    for name, row in rows_of(found).items():
        assert (row["path"], row["audio_path"], row["video_path"]) == (f"VideoFlash/{name}.flv", None, None)
    told = "2 clips take the sound of their videos, AudioWAV has one recording for two: 1006_TIE_HAP_XX, 1006_TIE_NEU_XX"
    assert told in found.notes
    shutil.rmtree(tmp_path / "VideoFlash")
    found = scan(tmp_path)
    assert found.table.num_rows == 0 and list(found.faults) == []
    assert "1006_TIE_HAP_XX is left out: its sound is the same file as that of 1006_TIE_NEU_XX" in " ".join(found.notes)


def test_without_demographics_the_sex_is_unknown_and_that_is_told(folder: Path):
    found = scan(folder)
    assert found.table["sex"].to_pylist() == [None]
    assert any(note.startswith("no VideoDemographics.csv in") and note.endswith("sex stays unknown") for note in found.notes)


def test_an_actor_whose_sex_the_demographics_do_not_tell(folder: Path):
    write_rows(folder / "VideoDemographics.csv", ("ActorID", "Age", "Sex"), [(1001, 51, ""), (1002, 21, "Female")])
    found = scan(folder)
    assert found.table["sex"].to_pylist() == [None]
    assert "VideoDemographics.csv tells no sex of 1 actors: 1001" in found.notes


@pytest.mark.parametrize("which", ["AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv"])
def test_pointers_of_git_lfs_are_named(folder: Path, which: str):
    (folder / which).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 76502\n")
    with pytest.raises(
        ManifestError, match=f"{which} is not the medium but a pointer of Git LFS to it; fetch the media with `git lfs pull`"
    ):
        scan(folder)


def test_another_folder_is_a_clear_error(tmp_path: Path):
    touch(tmp_path / "notes.txt")
    with pytest.raises(ManifestError, match="`path` is the folder of CREMA-D that holds AudioWAV/ and VideoFlash/"):
        scan(tmp_path)


def test_the_manifest_of_the_small_tree_with_five_folds(tree: Path, tmp_path: Path):
    corpus = {"name": "crema_d", "path": str(tree), "labels": "perceived"}
    config = ManifestConfig.model_validate({"corpus": corpus, "folds": {"name": "stratified"}, "out": tmp_path / "m.parquet"})
    summary = build_manifest(config)
    assert (summary.num_clips, summary.num_audio, summary.num_video, summary.num_speakers) == (35, 35, 35, 5)
    table = read_manifest(tmp_path / "m.parquet").table
    assert len({(row["speaker_id"], row["fold"]) for row in table.to_pylist()}) == 5
    assert all(0.5 < seconds < 0.8 for seconds in table["duration_s"].to_pylist())


def test_a_linked_folder_is_named_and_not_followed(folder: Path):
    (folder / "VideoFlash").rename(folder / "elsewhere")
    (folder / "VideoFlash").symlink_to(folder / "elsewhere")
    (fault,) = scan(folder).faults
    assert (fault.clip_id, fault.column) == (None, "video_path")
    assert "'VideoFlash' is a symbolic link to a folder, which is not followed; put the folder itself there" in fault.what
