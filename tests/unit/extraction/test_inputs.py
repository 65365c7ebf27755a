import os
from pathlib import Path

import fsspec

from mer_ray.core.faces import DetectedFaces, StoredFaces
from mer_ray.core.media_types import AudioFormat, Clip, FrameFormat, InputFormat, TextFormat
from mer_ray.extraction.inputs import ABSENT, input_hash, source_path, stamp_files

AUDIO, FRAMES, TEXT = AudioFormat(16000), FrameFormat(112, num_frames=4), TextFormat()


def hash_of(clip: Clip, input_format: InputFormat = AUDIO) -> str:
    path = source_path(clip, input_format)
    return input_hash(clip, input_format, stamp_files([path] if path else []))


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
    assert hash_of(Clip("a", path=str(tmp_path / "absent.mp4"), text="hello"), TEXT) == hash_of(Clip("b", text="hello"), TEXT)
    assert hash_of(Clip("a", text="hello"), TEXT) != hash_of(Clip("a", text="hullo"), TEXT)


def test_sound_and_pictures_apart_have_hashes_apart(tmp_path: Path):
    for name in ("a.wav", "a.avi"):
        (tmp_path / name).write_bytes(name.encode())
    clip = Clip("a", audio_path=str(tmp_path / "a.wav"), video_path=str(tmp_path / "a.avi"))
    assert source_path(clip, AUDIO) == clip.audio_path
    assert source_path(clip, FRAMES) == clip.video_path
    assert hash_of(clip, AUDIO) != hash_of(clip, FRAMES)


def test_crops_of_the_corpus_are_read_instead_of_the_video_and_found_faces_are_not(tmp_path: Path):
    for name in ("a.mp4", "a.npy"):
        (tmp_path / name).write_bytes(name.encode())
    clip = Clip("a", path=str(tmp_path / "a.mp4"), faces_path=str(tmp_path / "a.npy"))
    crops = FrameFormat(112, num_frames=4, faces=StoredFaces())
    found = FrameFormat(112, num_frames=4, faces=DetectedFaces(weights=tmp_path / "yunet.onnx"))
    assert source_path(clip, crops) == clip.faces_path
    assert source_path(clip, found) == source_path(clip, FRAMES) == clip.path
    before, of_video = hash_of(clip, crops), hash_of(clip, FRAMES)
    (tmp_path / "a.npy").write_bytes(b"changed")
    assert hash_of(clip, crops) != before
    assert hash_of(clip, FRAMES) == of_video
    assert source_path(Clip("a", path=clip.path), crops) is None


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
