import os
from pathlib import Path

import fsspec

from mer_ray.core.media_types import Clip
from mer_ray.extraction.inputs import ABSENT, input_hash, source_path, stamp_files


def hash_of(clip: Clip, modality: str = "audio") -> str:
    path = source_path(clip, modality)
    return input_hash(clip, modality, stamp_files([path] if path else []))


def test_a_changed_file_changes_the_hash(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    before = hash_of(Clip("a", path=str(path)))
    assert hash_of(Clip("a", path=str(path))) == before
    path.write_bytes(b"other")
    assert hash_of(Clip("a", path=str(path))) != before


def test_a_touched_file_of_equal_size_changes_the_hash(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    before = hash_of(Clip("a", path=str(path)))
    os.utime(path, ns=(1, 1))
    assert hash_of(Clip("a", path=str(path))) != before


def test_the_segment_is_part_of_the_hash_and_the_name_is_not(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    whole = hash_of(Clip("a", path=str(path)))
    assert hash_of(Clip("a", path=str(path), start_s=1.0, end_s=2.0)) != whole
    assert hash_of(Clip("renamed", path=str(path))) == whole


def test_text_is_hashed_by_its_sentence_alone(tmp_path: Path):
    assert hash_of(Clip("a", path=str(tmp_path / "absent.mp4"), text="hello"), "text") == hash_of(Clip("b", text="hello"), "text")
    assert hash_of(Clip("a", text="hello"), "text") != hash_of(Clip("a", text="hullo"), "text")


def test_sound_and_pictures_apart_have_hashes_apart(tmp_path: Path):
    for name in ("a.wav", "a.avi"):
        (tmp_path / name).write_bytes(name.encode())
    clip = Clip("a", audio_path=str(tmp_path / "a.wav"), video_path=str(tmp_path / "a.avi"))
    assert source_path(clip, "audio") == clip.audio_path
    assert source_path(clip, "vision") == clip.video_path
    assert hash_of(clip, "audio") != hash_of(clip, "vision")


def test_a_missing_file_is_stamped_absent(tmp_path: Path):
    path = str(tmp_path / "absent.wav")
    assert stamp_files([path]) == {path: ABSENT}


def test_remote_files_are_stamped_by_their_etag(s3_bucket: str):
    filesystem = fsspec.filesystem("s3")
    filesystem.pipe(f"{s3_bucket}/clips/a.wav", b"one")
    paths = [f"{s3_bucket}/clips/a.wav", f"{s3_bucket}/clips/absent.wav", f"{s3_bucket}/nowhere/b.wav"]
    before = stamp_files(paths)
    assert before[paths[0]] != ABSENT
    assert before[paths[1]] == before[paths[2]] == ABSENT
    filesystem.pipe(paths[0], b"two")
    assert stamp_files(paths)[paths[0]] != before[paths[0]]
