from collections import Counter
from pathlib import Path

import pytest

from mer_ray.core.errors import ManifestError
from mer_ray.corpora.emodb import EmodbCorpusConfig


def test_file_names_carry_speaker_and_emotion(tmp_path: Path):
    (tmp_path / "wav").mkdir()
    for name in ("03a01Fa.wav", "16b10Wc.WAV", "17a01Na.wav", "03a01Xa.wav", "03a01Fa.mp3", "readme.txt", "Thumbs.db"):
        (tmp_path / "wav" / name).touch()
    (tmp_path / "silb").mkdir()
    (tmp_path / "silb" / "03a01Fa.silb").touch()
    scan = EmodbCorpusConfig(path=str(tmp_path)).build().scan()
    assert scan.table.select(["clip_id", "path", "speaker_id", "split", "emotion", "language"]).to_pylist() == [
        {"clip_id": "03a01Fa", "path": "wav/03a01Fa.wav", "speaker_id": "03", "split": None, "emotion": "happiness", "language": "de"},
        {"clip_id": "16b10Wc", "path": "wav/16b10Wc.WAV", "speaker_id": "16", "split": None, "emotion": "anger", "language": "de"},
    ]
    assert scan.table["sex"].to_pylist() == ["male", "female"]
    assert list(scan.notes) == ["EmoDB was published with 535 clips in wav/; here are 2"]
    assert [fault.what for fault in scan.faults] == [
        f"'wav/{name}' is no file of EmoDB" for name in ("03a01Fa.mp3", "03a01Xa.wav", "17a01Na.wav", "readme.txt")
    ]
    assert "names like 03a01Fa.wav: speaker (03, 08" in scan.faults[0].allowed
    assert not {fault.row for fault in scan.faults} & set(scan.row_numbers)


def test_the_shared_part_of_the_release(shared_data: Path):
    scan = EmodbCorpusConfig(path=str(shared_data / "emodb")).build().scan()
    assert list(scan.faults) == []
    assert Counter(scan.table["speaker_id"].to_pylist()) == {"03": 49, "08": 58, "09": 43, "10": 38, "11": 55}
    assert Counter(scan.table["sex"].to_pylist()) == {"male": 49 + 38 + 55, "female": 58 + 43}
    assert Counter(scan.table["emotion"].to_pylist()) == {
        "anger": 60, "boredom": 35, "disgust": 12, "fear": 29, "happiness": 34, "sadness": 30, "neutral": 43,
    }  # fmt: skip


def test_the_wav_folder_itself_holds_the_same_clips(shared_data: Path):
    parent = EmodbCorpusConfig(path=str(shared_data / "emodb")).build()
    wav = EmodbCorpusConfig(path=str(shared_data / "emodb" / "wav")).build()
    assert wav.scan().table["clip_id"].to_pylist() == parent.scan().table["clip_id"].to_pylist()
    assert wav.scan().table["path"].to_pylist()[0] == "03a01Fa.wav"
    assert wav.facts().licence == "CC0-1.0"
    assert wav.facts().classes == ("anger", "boredom", "disgust", "fear", "happiness", "sadness", "neutral")


def test_a_linked_wav_folder_is_named(tmp_path: Path):
    (tmp_path / "EmoDB").mkdir()
    (tmp_path / "EmoDB" / "wav").symlink_to(tmp_path)
    (fault,) = EmodbCorpusConfig(path=str(tmp_path / "EmoDB")).build().scan().faults
    assert fault.clip_id is None
    assert "'wav' is a symbolic link to a folder, which is not followed; put the folder itself there" in str(fault)


def test_another_folder_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ManifestError, match="`path` is the folder of EmoDB that holds wav/"):
        EmodbCorpusConfig(path=str(tmp_path)).build().scan()
