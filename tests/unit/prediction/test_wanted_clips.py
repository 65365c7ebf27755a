from pathlib import Path

import pytest
from media_factory import tone, write_wave

from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.decoders.limits import MediaLimits
from mer_ray.prediction.recogniser import with_windows
from mer_ray.prediction.wanted_clips import clips_of_files, clips_of_manifest, cut_windows, window_starts

LIMITS = MediaLimits()


def test_files_folders_and_mappings(tmp_path: Path):
    for name in ("a.wav", "below/b.wav", "below/deep/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_wave(tmp_path / name, tone(0.5).T)
    (tmp_path / "below" / "notes.txt").touch()
    wanted = clips_of_files([tmp_path / "a.wav", str(tmp_path / "below"), {"text": "well", "clip_id": "said"}], LIMITS)
    clips = wanted.manifest.clips()
    # Two files share the stem `a`: then their paths are their ids.
    assert wanted.clip_ids == [str(tmp_path / "a.wav"), "b", str(tmp_path / "below/deep/a.wav"), "said"] == wanted.source_ids
    assert [clip.path for clip in clips[:3]] == [str(tmp_path / name) for name in ("a.wav", "below/b.wav", "below/deep/a.wav")]
    assert clips[0].duration_s == pytest.approx(0.5) and clips[3].text == "well"


def test_a_file_that_cannot_be_read_is_still_a_clip(tmp_path: Path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (clip,) = clips_of_files([tmp_path / "broken.mp4"], LIMITS).manifest.clips()
    assert clip.clip_id == "broken" and clip.duration_s is None


def test_what_is_no_clip_is_refused(tmp_path: Path):
    with pytest.raises(ManifestError, match="nothing to predict: no media file in"):
        clips_of_files([tmp_path], LIMITS)
    with pytest.raises(ConfigError, match=r"unknown key 'paht'. Allowed: clip_id, path"):
        clips_of_files([{"paht": "a.wav"}], LIMITS)
    with pytest.raises(ConfigError, match="needs one of path, audio_path, video_path or text"):
        clips_of_files([{"clip_id": "x"}], LIMITS)
    write_wave(tmp_path / "a.wav", tone(0.5).T)
    with pytest.raises(ConfigError, match="is given twice"):
        clips_of_files([tmp_path / "a.wav", tmp_path / "a.wav"], LIMITS)
    parts = [
        {"path": tmp_path / "a.wav", "clip_id": name, "start_s": start_s, "end_s": start_s + 0.2}
        for name, start_s in (("1", 0), ("2", 0.2))
    ]
    assert [clip.duration_s for clip in clips_of_files(parts, LIMITS).manifest.clips()] == pytest.approx([0.2, 0.2])


def test_clips_of_a_manifest_by_split_and_name(corpus):
    path = corpus.folder / "manifest.parquet"
    assert len(clips_of_manifest(path, None, None).clip_ids) == 48
    assert clips_of_manifest(path, ["dev"], None).clip_ids == [row["clip_id"] for row in corpus.rows if row["split"] == "dev"]
    assert clips_of_manifest(path, None, ["clip007", "clip003", "nobody"]).clip_ids == ["clip003", "clip007"]
    with pytest.raises(ManifestError, match="no clip is in split 'test9'; it has dev, test, train"):
        clips_of_manifest(path, ["test9"], None)
    with pytest.raises(ManifestError, match=r"none of the 2 candidates is a clip of it, e.g. 'x'"):
        clips_of_manifest(path, None, ["x", "y"])


@pytest.mark.parametrize(
    ("duration_s", "window_s", "hop_s", "starts"),
    [
        (10, 4, 2, [0, 2, 4, 6]),
        (9, 4, 2, [0, 2, 4, 5]),
        (3, 4, 1, [0]),
        (4, 4, 1, [0]),
        (4.5, 4, 1, [0, 0.5]),
        (10, 2, 4, [0, 4, 8]),
        (9, 2, 4, [0, 4, 7]),
        (9, 1, 3, [0, 3, 6]),
    ],
)
def test_windows_reach_the_end_and_no_further(duration_s, window_s, hop_s, starts):
    assert window_starts(duration_s, window_s, hop_s) == starts


def test_windows_of_a_segment_lie_in_it(tmp_path: Path):
    write_wave(tmp_path / "a.wav", tone(3.0).T)
    wanted = clips_of_files([{"path": tmp_path / "a.wav", "start_s": 1.0, "end_s": 2.5, "text": "all of it"}], LIMITS)
    windows = cut_windows(wanted, 1.0, 0.5)
    assert [(clip.start_s, clip.end_s) for clip in windows.manifest.clips()] == [(1.0, 2.0), (1.5, 2.5)]
    assert windows.source_ids == ["a", "a"] and len(set(windows.clip_ids)) == 2
    assert windows.manifest.table["text"].null_count == 2


def test_windows_need_lengths_and_a_known_duration(tmp_path: Path):
    write_wave(tmp_path / "a.wav", tone(0.5).T)
    wanted = clips_of_files([tmp_path / "a.wav"], LIMITS)
    with pytest.raises(ConfigError, match="hop_s: needs window_s"):
        with_windows(wanted, None, 1.0)
    with pytest.raises(ConfigError, match="lengths in seconds, above 0"):
        with_windows(wanted, 1.0, 0.0)
    (tmp_path / "broken.wav").write_bytes(b"x")
    with pytest.raises(ManifestError, match="broken: its duration cannot be read"):
        with_windows(clips_of_files([tmp_path / "broken.wav"], LIMITS), 1.0, 1.0)


def test_a_name_that_is_nowhere_is_refused(tmp_path: Path):
    """A mistyped folder would otherwise be one clip that nothing is known of."""
    with pytest.raises(ManifestError, match="clipz: no such file or folder; correct its name"):
        clips_of_files([tmp_path / "clipz"], LIMITS)
    (tmp_path / "dead.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(ManifestError, match="no such file or folder"):
        clips_of_files([tmp_path / "dead.wav"], LIMITS)


def test_what_a_folder_hides_is_said(tmp_path: Path):
    write_wave(tmp_path / "a.wav", tone(0.5).T)
    (tmp_path / "more").symlink_to(tmp_path)
    with pytest.raises(ManifestError, match="more: is a symbolic link to a folder, which is not followed"):
        clips_of_files([tmp_path], LIMITS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start_s": "0.1"}, "start_s: '0.1' is a str; give a number"),
        ({"end_s": True}, "end_s: True is a bool; give a number"),
        ({"clip_id": 5}, "clip_id: 5 is a int; give a string"),
        ({"text": 5}, "text: 5 is a int; give a string"),
        ({"path": 5}, "path: 5 is a int; give a string"),
        ({"clip_id": ""}, "clip_id is empty"),
    ],
)
def test_values_of_other_types_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        clips_of_files([{"path": "a.wav"} | given], LIMITS)


def test_ids_that_were_given_stay(tmp_path: Path):
    for name in ("a.wav", "b.wav", "c/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_wave(tmp_path / name, tone(0.5).T)
    with pytest.raises(ConfigError, match="x: is given twice"):
        clips_of_files([{"path": tmp_path / "a.wav", "clip_id": "x"}, {"path": tmp_path / "b.wav", "clip_id": "x"}], LIMITS)
    wanted = clips_of_files([{"path": tmp_path / "b.wav", "clip_id": "a"}, tmp_path / "c" / "a.wav"], LIMITS)
    assert wanted.clip_ids == ["a", str(tmp_path / "c" / "a.wav")]


def test_more_windows_than_a_machine_holds_are_refused(tmp_path: Path):
    write_wave(tmp_path / "a.wav", tone(0.5).T)
    wanted = clips_of_files([tmp_path / "a.wav"], LIMITS)
    with pytest.raises(ConfigError, match=r"hop_s 1e-09: cuts 0.5 s into more than 1,000,000 windows"):
        cut_windows(wanted, 0.1, 1e-9)


@pytest.mark.parametrize("lengths", [(float("nan"), 1.0), (1.0, float("nan")), (float("inf"), 1.0), (-1.0, None)])
def test_windows_have_real_lengths(tmp_path: Path, lengths):
    write_wave(tmp_path / "a.wav", tone(0.5).T)
    with pytest.raises(ConfigError, match="lengths in seconds, above 0 and finite"):
        with_windows(clips_of_files([tmp_path / "a.wav"], LIMITS), *lengths)


def test_a_named_file_that_is_no_media_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ManifestError, match=r"notes.txt: no media file that is read; allowed: .mp4, "):
        clips_of_files([tmp_path / "notes.txt"], LIMITS)
