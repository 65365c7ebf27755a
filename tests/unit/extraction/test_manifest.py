import csv
import random
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mer_ray.core.config import identity_of, parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import read_manifest
from mer_ray.extraction.manifest import ManifestConfig, build_manifest

HEADER = "clip_id,path,start_s,end_s,speaker_id,split,emotion,valence,text"


def write_sound(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(random.Random(seed).randbytes(2 * int(8000 * seconds)))


def write_pictures(path: Path, num_frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 32, 32
        for index in range(num_frames):
            image = np.full((32, 32, 3), index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def config_of(folder: Path, rows: list[str] | None = None, header: str = HEADER, **options: Any) -> ManifestConfig:
    if rows is not None:
        (folder / "clips.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    corpus = {"name": "table", "path": str(folder / "clips.csv"), **options.pop("corpus", {})}
    return parse_config(ManifestConfig, {"corpus": corpus, "out": str(folder / "out" / "m.parquet"), **options}, "manifest")


def error_lines(config: ManifestConfig) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        build_manifest(config)
    return str(caught.value).splitlines()


def test_a_manifest_holds_the_rows_and_what_the_files_say(tmp_path: Path):
    write_sound(tmp_path / "ä b.wav", 2.0, seed=1)
    write_pictures(tmp_path / "c.mp4", num_frames=15)
    rows = [
        "whole,ä b.wav,,,1,train,sad,-1.5,guten Tag",
        "part,ä b.wav,0.5,1.25,1,train,happy,nan,",
        "tail,ä b.wav,1.5,,1,train,,,",
        "seen,c.mp4,,,2,test,sad,,",
        "said,,,,,,,,only words",
    ]
    summary = build_manifest(config_of(tmp_path, rows, corpus={"classes": ["happy", "sad", "angry"]}))
    manifest = read_manifest(tmp_path / "out" / "m.parquet")
    table = manifest.table.to_pydict()
    assert table["clip_id"] == ["whole", "part", "tail", "seen", "said"]
    assert table["duration_s"] == pytest.approx([2.0, 0.75, 0.5, 1.5, None])
    sound, pictures = (tmp_path / "ä b.wav").stat().st_size, (tmp_path / "c.mp4").stat().st_size
    assert table["num_bytes"] == [sound, sound, sound, pictures, None]
    assert table["valence"] == [-1.5, None, None, None, None]
    assert manifest.facts.classes == ("happy", "sad", "angry")
    assert manifest.facts.root == str(tmp_path)
    assert [clip.path for clip in manifest.clips()][3:] == [str(tmp_path / "c.mp4"), None]
    assert (summary.num_clips, summary.num_audio, summary.num_video, summary.num_text) == (5, 3, 1, 2)
    assert summary.hours == pytest.approx((2.0 + 0.75 + 0.5 + 1.5) / 3600)
    assert summary.classes == {"happy": 1, "sad": 2, "angry": 0}
    assert summary.splits == {"(none)": 1, "test": 1, "train": 3}
    assert (summary.num_speakers, summary.num_faults, summary.faults_out, summary.folds) == (2, 0, None, {})


def write_faulty_corpus(folder: Path) -> list[str]:
    """Rows 2 to 12 of a table: one good, ten with a fault each."""
    root = folder / "root"
    for seed, name in enumerate(("good", "twin", "short", "label", "value", "double_a", "double_b")):
        write_sound(root / f"{name}.wav", 1.0 + seed / 10, seed)
    (root / "copy.wav").write_bytes((root / "twin.wav").read_bytes())
    (root / "empty.wav").touch()
    (root / "text.mp4").write_text("this is no video\n" * 50)
    write_sound(folder / "secret.wav", 1.0, seed=99)
    (root / "link.wav").symlink_to(folder / "secret.wav")
    return [
        "good,good.wav,,,1,train,sad,1,",
        "twin,twin.wav,,,1,train,sad,1,",
        "copy,copy.wav,,,1,test,sad,1,",
        "long,short.wav,0,9,1,train,sad,1,",
        "label,label.wav,,,1,train,furious,1,",
        "value,value.wav,,,1,train,sad,77,",
        "double,double_a.wav,,,1,train,sad,1,",
        "double,double_b.wav,,,1,train,sad,1,",
        "gone,gone.wav,,,1,train,sad,1,",
        "empty,empty.wav,,,1,train,sad,1,",
        "text,text.mp4,,,1,train,sad,1,",
        "out,../secret.wav,,,1,train,sad,1,",
        "link,link.wav,,,1,train,sad,1,",
    ]


FAULTY_OPTIONS = {"classes": ["sad", "angry"], "value_ranges": {"valence": [-5, 5]}}
FAULTY_PLACES = [
    ("3", "twin", "split", "shows the same media as row 4"),
    ("4", "copy", "split", "shows the same media as row 3"),
    ("5", "long", "end_s", "9.0 lies beyond the end"),
    ("6", "label", "emotion", "unknown label 'furious'"),
    ("7", "value", "valence", "77 is out of range"),
    ("8", "double", "clip_id", "is also the id of row 9"),
    ("9", "double", "clip_id", "is also the id of row 8"),
    ("10", "gone", "path", "'gone.wav' no such file"),
    ("11", "empty", "path", "empty.wav"),
    ("12", "text", "path", "text.mp4"),
    ("13", "out", "path", "'../secret.wav' leaves the root through '..'"),
    ("14", "link", "path", "'link.wav' is a symbolic link out of the root"),
]


def faulty_config(folder: Path, **options: Any) -> ManifestConfig:
    corpus = {"root": str(folder / "root"), **FAULTY_OPTIONS}
    return config_of(folder, write_faulty_corpus(folder), corpus=corpus, **options)


def test_every_fault_is_named_at_once_and_nothing_is_written(tmp_path: Path):
    lines = error_lines(faulty_config(tmp_path))
    assert lines[0].endswith(
        "clips.csv: 12 faults; nothing was written; correct them, or leave their rows out with --keep-going (keep_going: true)"
    )
    assert len(lines) == 1 + len(FAULTY_PLACES)
    for line, (row, clip_id, column, what) in zip(lines[1:], FAULTY_PLACES, strict=True):
        assert line.startswith(f"  row {row}, clip '{clip_id}', {column}: ")
        assert what in line
        assert "; allowed: " in line
    assert not (tmp_path / "out").exists()


def test_faults_leave_an_older_manifest_as_it_was(tmp_path: Path):
    write_sound(tmp_path / "a.wav", 1.0, seed=1)
    build_manifest(config_of(tmp_path, ["a,a.wav,,,,,,,"]))
    before = (tmp_path / "out" / "m.parquet").read_bytes()
    error_lines(config_of(tmp_path, ["a,gone.wav,,,,,,,"]))
    assert (tmp_path / "out" / "m.parquet").read_bytes() == before
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["m.parquet"]


def test_keep_going_writes_the_good_rows_and_a_table_of_the_bad(tmp_path: Path):
    summary = build_manifest(faulty_config(tmp_path, keep_going=True))
    assert read_manifest(tmp_path / "out" / "m.parquet").table["clip_id"].to_pylist() == ["good"]
    assert (summary.num_clips, summary.num_faults) == (1, 12)
    assert summary.faults_out == str(tmp_path / "out" / "m.faults.csv")
    with (tmp_path / "out" / "m.faults.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [(fault["row"], fault["clip_id"], fault["column"]) for fault in found] == [place[:3] for place in FAULTY_PLACES]
    assert all(place[3] in fault["what"] and fault["allowed"] for fault, place in zip(found, FAULTY_PLACES, strict=True))


def test_a_later_try_without_faults_removes_their_table(tmp_path: Path):
    write_sound(tmp_path / "a.wav", 1.0, seed=1)
    build_manifest(config_of(tmp_path, ["a,a.wav,,,,,,,", "b,b.wav,,,,,,,"], keep_going=True))
    assert (tmp_path / "out" / "m.faults.csv").is_file()
    build_manifest(config_of(tmp_path, ["a,a.wav,,,,,,,"]))
    assert not (tmp_path / "out" / "m.faults.csv").exists()


def test_keep_going_without_a_good_row_writes_nothing(tmp_path: Path):
    lines = error_lines(config_of(tmp_path, ["a,gone.wav,,,,,,,"], keep_going=True))
    assert "no row is left to write" in lines[0]
    assert not (tmp_path / "out").exists()


def test_keep_going_cannot_mend_a_missing_column(tmp_path: Path):
    lines = error_lines(config_of(tmp_path, ["a,x"], header="clip_id,file", keep_going=True))
    assert "--keep-going cannot go on" in lines[0]
    assert [line.partition(";")[0] for line in lines[1:]] == ["  path: column is missing", "  file: unknown column 'file'"]


def test_a_playlist_in_media_clothes_is_a_fault_and_its_neighbour_stays_unread(tmp_path: Path):
    write_sound(tmp_path / "neighbour.wav", 1.0, seed=1)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile neighbour.wav\n")
    (tmp_path / "live.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nneighbour.wav\n#EXT-X-ENDLIST\n")
    lines = error_lines(config_of(tmp_path, ["a,list.mp4,,,,,,,", "b,live.mp4,,,,,,,"]))
    assert [line.split(":")[0] for line in lines[1:]] == ["  row 2, clip 'a', path", "  row 3, clip 'b', path"]


def test_folds_are_written_and_named(tmp_path: Path):
    rows = []
    for index in range(24):
        write_sound(tmp_path / f"{index}.wav", 0.1 + index / 100, seed=index)
        rows.append(f"c{index},{index}.wav,,,s{index % 6},train,{'sad' if index % 2 else 'happy'},,")
    config = config_of(tmp_path, [*rows, "x,,,,s1,unlabelled,,,words"], folds={"name": "stratified", "num_folds": 3, "seed": 5})
    summary = build_manifest(config)
    manifest = read_manifest(config.out)
    folds = manifest.table["fold"].to_pylist()
    pairs = set(zip(manifest.table["speaker_id"].to_pylist()[:24], folds[:24], strict=True))
    assert len(pairs) == 6
    assert folds[24] is None
    assert summary.folds == dict(Counter(folds[:24]))
    assert manifest.facts.folds == "stratified, 3 folds, seed 5, speaker-disjoint where speakers are known"


def test_segments_of_one_file_share_a_fold_where_speakers_are_unknown(tmp_path: Path):
    rows = []
    for file in range(6):
        write_sound(tmp_path / f"{file}.wav", 1.0 + file / 10, seed=file)
        rows += [f"c{file}{part},{file}.wav,{part / 10},{part / 10 + 0.4},,train,{'sad' if part % 2 else 'happy'},," for part in range(4)]
    config = config_of(tmp_path, rows, folds={"name": "stratified", "num_folds": 3})
    build_manifest(config)
    table = read_manifest(config.out).table
    assert len(set(zip(table["path"].to_pylist(), table["fold"].to_pylist(), strict=True))) == 6


def test_given_folds_that_leak_are_faults(tmp_path: Path):
    write_sound(tmp_path / "a.wav", 1.0, seed=1)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    lines = error_lines(
        config_of(tmp_path, ["a,a.wav,0,x", "b,b.wav,1,y"], header="clip_id,path,fold,emotion", corpus={"classes": ["x", "y"]})
    )
    assert [line.split(":")[0] for line in lines[1:] if "fold" in line] == ["  row 2, clip 'a', fold", "  row 3, clip 'b', fold"]


def test_folds_that_cannot_be_made_write_nothing(tmp_path: Path):
    write_sound(tmp_path / "a.wav", 1.0, seed=1)
    lines = error_lines(config_of(tmp_path, ["a,a.wav,,,1,train,sad,,"], folds={"name": "leave_one_speaker_out"}))
    assert "needs at least 2 speakers" in lines[0]
    assert not (tmp_path / "out").exists()


def test_the_same_media_twice_in_a_split_is_counted(tmp_path: Path):
    write_sound(tmp_path / "a.wav", 1.0, seed=1)
    write_sound(tmp_path / "b.wav", 1.0, seed=1)
    summary = build_manifest(config_of(tmp_path, ["a,a.wav,,,,train,sad,,", "b,b.wav,,,,train,sad,,"]))
    assert summary.num_repeated == 1
    assert "1 clips show the same media" in summary.tables()[0].notes[0]


def test_the_manifest_may_not_replace_the_table_it_comes_from(tmp_path: Path):
    pq.write_table(pa.table({"path": ["a.wav"]}), tmp_path / "m.parquet")
    data = {"corpus": {"name": "table", "path": str(tmp_path / "m.parquet")}, "out": str(tmp_path / "m.parquet")}
    with pytest.raises(ConfigError, match="is the corpus's own table, which would be lost"):
        parse_config(ManifestConfig, data, "manifest")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"corpus": {"name": "tabel", "path": "x"}, "out": "m"}, r"corpus\.name: unknown choice 'tabel'; did you mean 'table'"),
        ({"corpus": {"name": "emodb", "pth": "x"}, "out": "m"}, r"corpus\.path: required, but missing"),
        ({"corpus": {"name": "emodb", "path": "x"}, "out": "m", "folds": {"name": "stratified", "num_folds": 1}}, r"folds\.num_folds"),
    ],
)
def test_wrong_keys_and_choices_are_named(data: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        parse_config(ManifestConfig, data, "manifest")


def test_only_what_decides_the_rows_is_identity():
    corpus = {"name": "files", "path": "x"}
    first = parse_config(ManifestConfig, {"corpus": corpus, "out": "a.parquet"}, "manifest")
    moved = parse_config(ManifestConfig, {"corpus": {**corpus, "path": "y"}, "out": "b.parquet", "num_probe_threads": 3}, "manifest")
    folded = parse_config(ManifestConfig, {"corpus": corpus, "out": "a.parquet", "folds": {"name": "stratified"}}, "manifest")
    assert identity_of(first) == identity_of(moved) != identity_of(folded)


def test_the_shared_speech_corpus_by_speakers(shared_data: Path, tmp_path: Path):
    corpus = {"name": "emodb", "path": str(shared_data / "emodb")}
    data = {"corpus": corpus, "out": str(tmp_path / "m.parquet"), "folds": {"name": "leave_one_speaker_out"}}
    summary = build_manifest(parse_config(ManifestConfig, data, "manifest"))
    assert (summary.num_clips, summary.num_audio, summary.num_speakers, summary.num_faults) == (243, 243, 5, 0)
    assert summary.folds == {0: 49, 1: 58, 2: 43, 3: 38, 4: 55}
    manifest = read_manifest(tmp_path / "m.parquet")
    # All files of this copy are cut or padded to two seconds.
    assert manifest.table["duration_s"].to_pylist() == pytest.approx([2.0] * 243)
    assert all(Path(str(clip.path)).is_file() for clip in manifest.clips())


def test_a_table_whose_files_lie_elsewhere_is_one_line(tmp_path: Path) -> None:
    rows = [f"clip{number},sounds/{number}.wav,,,,,,," for number in range(60)]
    (line,) = error_lines(config_of(tmp_path, rows, keep_going=True))
    assert line.startswith(f"{tmp_path}: none of the 60 files is there, e.g. 'sounds/")
    assert "corpus.root is the folder that its paths are relative to" in line
