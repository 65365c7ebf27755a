from pathlib import Path

import pytest
from corpus_trees.ravdess import ACTORS, make_tree

from mer_ray.core.errors import ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.corpora.ravdess import RavdessCorpusConfig
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("released") / "RAVDESS")


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def scan(folder: Path, **options):
    return RavdessCorpusConfig(path=str(folder), **options).build().scan()


def test_names_carry_actor_sex_and_emotion(tree: Path):
    found = scan(tree)
    assert list(found.faults) == []
    rows = {row["clip_id"]: row for row in found.table.to_pylist()}
    assert len(rows) == len(ACTORS) * len(CLASSES)
    row = {name: value for name, value in rows["01-01-06-01-01-01-04"].items() if value is not None}
    assert row == {
        "clip_id": "01-01-06-01-01-01-04",
        "path": "Actor_04/01-01-06-01-01-01-04.mp4",
        "speaker_id": "04",
        "sex": "female",
        "language": "en",
        "emotion": "fearful",
    }
    assert rows["01-01-08-01-01-01-03"]["sex"] == "male"
    assert [rows[f"01-01-{place:02d}-01-01-01-02"]["emotion"] for place in range(1, 9)] == list(CLASSES)


def test_published_counts_are_compared_for_what_was_chosen(tree: Path):
    assert list(scan(tree).notes) == ["ravdess (audio_visual) was published with 1440 clips in speech; here are 40"]
    assert list(scan(tree, modality="audio_only", channels=["speech", "song"]).notes) == [
        "ravdess (audio_only) was published with 1440 clips in speech; here are 2",
        "ravdess (audio_only) was published with 1012 clips in song; here are 0",
    ]


@pytest.mark.parametrize(
    ("modality", "column", "prefix"),
    [("audio_visual", "path", "01"), ("video_only", "video_path", "02"), ("audio_only", "audio_path", "03")],
)
def test_one_of_the_three_files_of_a_performance_is_the_clip(tree: Path, modality: str, column: str, prefix: str):
    rows = [row for row in scan(tree, modality=modality).table.to_pylist() if row["speaker_id"] == "01"]
    assert all(row["clip_id"].startswith(f"{prefix}-01-") and row[column] for row in rows)
    assert all(row[other] is None for row in rows for other in {"path", "audio_path", "video_path"} - {column})


def test_songs_have_six_classes_and_both_channels_eight(tree: Path):
    song = RavdessCorpusConfig(path=str(tree), channels=["song"]).build()
    assert song.facts().classes == CLASSES[:6]
    assert song.scan().table["clip_id"].to_pylist() == ["01-02-01-01-01-01-01", "01-02-02-01-01-01-01"]
    both = RavdessCorpusConfig(path=str(tree), channels=["speech", "song"]).build()
    assert both.facts().classes == CLASSES
    assert both.scan().table.num_rows == 42
    assert both.facts().licence is not None and both.facts().licence.startswith("CC BY-NC-SA 4.0")


def test_where_only_sound_is_the_error_says_so(tmp_path: Path):
    for actor in ("01", "02"):
        touch(tmp_path / f"Actor_{actor}" / f"03-01-05-01-01-01-{actor}.wav")
    expected = (
        r"no audio_visual file of speech below it; here are 2 audio_only of speech; set `modality: audio_only` and `channels: \[speech\]`"
    )
    with pytest.raises(ManifestError, match=expected):
        scan(tmp_path)
    assert scan(tmp_path, modality="audio_only").table["audio_path"].to_pylist()[0] == "Actor_01/03-01-05-01-01-01-01.wav"


def test_a_flat_folder_and_suffixes_in_capitals(tmp_path: Path):
    for name in ("01-01-03-02-02-02-24.MP4", "01-01-01-01-01-01-01.mp4"):
        touch(tmp_path / name)
    rows = scan(tmp_path).table.to_pylist()
    assert [(row["clip_id"], row["path"]) for row in rows] == [
        ("01-01-01-01-01-01-01", "01-01-01-01-01-01-01.mp4"),
        ("01-01-03-02-02-02-24", "01-01-03-02-02-02-24.MP4"),
    ]


def test_a_name_in_two_folders_is_a_fault(tmp_path: Path):
    for folder in ("Actor_01", "audio_speech_actors_01-24/Actor_01"):
        touch(tmp_path / folder / "03-01-05-01-01-01-01.wav")
    touch(tmp_path / "Actor_01" / "03-01-06-01-01-01-01.wav")
    found = scan(tmp_path, modality="audio_only")
    assert found.table["clip_id"].to_pylist() == ["03-01-06-01-01-01-01"]
    (fault,) = found.faults
    assert fault.what.startswith("lies twice: Actor_01/03-01-05-01-01-01-01.wav and audio_speech_actors_01-24/")
    assert fault.allowed == "one file of a name; give `path` the folder of one copy"
    assert fault.row not in found.row_numbers


def test_media_of_other_names_are_faults_and_other_files_are_not_read(tmp_path: Path):
    foreign = ("01-01-09-01-01-01-01.mp4", "01-01-03-01-01-01-25.mp4", "01-01-03-01-01-01.mp4", "03-01-03-01-01-01-01.mp4", "clip.avi")
    for name in (*foreign, "readme.txt", "Video_Speech_Actor_01.zip", "01-01-03-01-01-01-01.csv", "01-01-03-01-01-01-01.mp4"):
        touch(tmp_path / "Actor_01" / name)
    found = scan(tmp_path)
    assert found.table["clip_id"].to_pylist() == ["01-01-03-01-01-01-01"]
    assert sorted(fault.what for fault in found.faults) == sorted(f"'Actor_01/{name}' is no file of RAVDESS" for name in foreign)
    assert "modality (01, 02: .mp4; 03: .wav)" in found.faults[0].allowed


def test_another_folder_is_a_clear_error(tmp_path: Path):
    touch(tmp_path / "notes.txt")
    with pytest.raises(ManifestError, match="`path` is the folder of RAVDESS that holds Actor_01/"):
        scan(tmp_path)


def test_channels_differ():
    with pytest.raises(ValueError, match="a channel is listed twice"):
        RavdessCorpusConfig(path="x", channels=["speech", "speech"])


def test_the_manifest_of_the_small_tree_leaves_one_speaker_out(tree: Path, tmp_path: Path):
    corpus = {"name": "ravdess", "path": str(tree)}
    config = ManifestConfig.model_validate({"corpus": corpus, "folds": {"name": "leave_one_speaker_out"}, "out": tmp_path / "m.parquet"})
    summary = build_manifest(config)
    assert (summary.num_clips, summary.num_audio, summary.num_video) == (40, 40, 40)
    assert {row["speaker_id"]: row["fold"] for row in read_manifest(tmp_path / "m.parquet").table.to_pylist()} == {
        actor: fold for fold, actor in enumerate(ACTORS)
    }
