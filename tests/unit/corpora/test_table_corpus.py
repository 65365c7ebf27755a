import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mer_ray.core.config import parse_config
from mer_ray.core.errors import ConfigError, ManifestError
from mer_ray.core.manifest import MANIFEST_SCHEMA
from mer_ray.corpora.table import TableCorpus, TableCorpusConfig


def corpus_of(path: Path, text: str | bytes | None = None, **options: Any) -> TableCorpus:
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse_config(TableCorpusConfig, {"name": "table", "path": str(path), **options}, "corpus").build()


def faults_of(path: Path, text: str | bytes, **options: Any) -> list[str]:
    return [str(fault) for fault in corpus_of(path, text, **options).scan().faults]


def test_a_csv_becomes_manifest_rows(tmp_path: Path):
    text = (
        "\ufeffclip_id,path,start_s,end_s,speaker_id,split,text,language,emotion,valence\n"
        'α 1,"wörter/a b, c.mp4",0.5,2,07,train,"she said ""no""\nand left",en,sad,-1.25\n'
        "β,b.wav,,,nan,,,,,NaN\n"
    )
    corpus = corpus_of(tmp_path / "my_clips.csv", text)
    scan = corpus.scan()
    assert list(scan.faults) == []
    assert scan.table.column_names == MANIFEST_SCHEMA.names
    first, second = scan.table.to_pylist()
    assert {name: value for name, value in first.items() if value is not None} == {
        "clip_id": "α 1",
        "path": "wörter/a b, c.mp4",
        "start_s": 0.5,
        "end_s": 2.0,
        "speaker_id": "07",
        "split": "train",
        "text": 'she said "no"\nand left',
        "language": "en",
        "emotion": "sad",
        "valence": -1.25,
    }
    assert {name: value for name, value in second.items() if value is not None} == {"clip_id": "β", "path": "b.wav"}
    facts = corpus.facts()
    assert (facts.corpus, facts.root, facts.classes) == ("my_clips", str(tmp_path), ("sad",))


def test_row_numbers_are_the_lines_of_the_file(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", 'path,text\na.wav,"two\nlines"\n\nb.wav,\nc.wav,x,y\n').scan()
    assert list(scan.row_numbers) == [3, 5]
    assert [str(fault) for fault in scan.faults] == ["row 6: has 3 cells; allowed: 2, as in the header; quote cells that hold ','"]


def test_text_alone_is_a_corpus_with_ids(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", "clip_id,text\na,hello\n").scan()
    assert list(scan.faults) == []
    assert scan.table["path"].to_pylist() == [None]


def test_text_alone_needs_ids(tmp_path: Path):
    (fault,) = faults_of(tmp_path / "c.csv", "text\nhello\n")
    assert fault.startswith("clip_id: the column is missing, and row 2 has no path")


def test_ids_default_to_file_names(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", "path\nx/a.b.wav\ny/c.mp4\n").scan()
    assert scan.table["clip_id"].to_pylist() == ["a.b", "c"]


def test_file_names_that_repeat_are_no_ids(tmp_path: Path):
    (fault,) = faults_of(tmp_path / "c.csv", "path\nx/a.wav\nb.wav\ny/a.wav\n")
    assert "file names repeat: 'a' in rows 2, 4" in fault
    assert "allowed: a column clip_id" in fault


def test_parquet_of_any_fitting_type_is_read(tmp_path: Path):
    table = pa.table(
        {
            "path": ["a.wav", "b.wav"],
            "speaker_id": [1, 2],
            "emotion": pa.array(["sad", None]).dictionary_encode(),
            "valence": [1, 2],
            "arousal": [math.nan, 0.5],
            "emotion_probs": [[0.25, 0.75], None],
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")
    scan = corpus_of(tmp_path / "c.parquet", classes=["sad", "angry"]).scan()
    assert list(scan.faults) == []
    assert list(scan.row_numbers) == [1, 2]
    found = scan.table.to_pydict()
    assert found["speaker_id"] == ["1", "2"]
    assert found["emotion"] == ["sad", None]
    assert found["valence"] == [1.0, 2.0]
    assert found["arousal"] == [None, 0.5]
    assert found["emotion_probs"] == [[0.25, 0.75], None]


def test_every_cell_that_does_not_fit_is_named(tmp_path: Path):
    faults = faults_of(tmp_path / "c.csv", 'clip_id,path,valence,start_s\na,a.wav,high,0\nb,b.wav,1,\nc,c.wav,2,"1,5"\n')
    assert sorted(faults) == [
        "row 2, clip 'a', valence: 'high' does not fit; allowed: a number with a decimal point, or empty for unknown",
        "row 4, clip 'c', start_s: '1,5' does not fit; allowed: a number with a decimal point, or empty for unknown",
    ]


def test_unknown_columns_name_the_nearest(tmp_path: Path):
    faults = faults_of(tmp_path / "c.csv", "path,Speaker,valance,,zzz\na.wav,1,2,3,4\n", ignore_columns=["zzz", "gone"])
    columns = ", ".join(MANIFEST_SCHEMA.names)
    others = f"allowed: {columns}; others: name them in `columns`, or list them in `ignore_columns`"
    assert faults == [
        "gone: is in ignore_columns but not in the table; allowed: the table has 'path', 'Speaker', 'valance', '', 'zzz'",
        f"Speaker: unknown column 'Speaker'; did you mean 'speaker_id'?; {others}",
        "valance: unknown column 'valance'; did you mean 'valence'?; allowed: as for 'Speaker'",
        "corpus: unknown column ''; allowed: as for 'Speaker'",
    ]


def test_a_table_without_media_or_text_names_the_missing_column(tmp_path: Path):
    faults = faults_of(tmp_path / "c.csv", "clip_id,FileName\na,a.wav\n", ignore_columns=["FileName"])
    assert faults == [
        "path: column is missing; allowed: at least one of path, audio_path, video_path, text; "
        "for another name write `columns: {path: <name>}`"
    ]


def test_columns_can_have_other_names(tmp_path: Path):
    text = "FileName,SpkrID,path\na.wav,7,ignored\n"
    scan = corpus_of(tmp_path / "c.csv", text, columns={"path": "FileName", "speaker_id": "SpkrID"}, ignore_columns=["path"]).scan()
    assert list(scan.faults) == []
    assert scan.table.select(["clip_id", "path", "speaker_id"]).to_pylist() == [{"clip_id": "a", "path": "a.wav", "speaker_id": "7"}]


def test_a_renamed_column_that_is_missing_is_a_fault(tmp_path: Path):
    (fault,) = faults_of(tmp_path / "c.csv", "clip_id,text\na,b\n", columns={"path": "FileName"})
    assert fault == "path: column 'FileName' is missing; allowed: the table has 'clip_id', 'text'"


def test_class_columns_are_a_soft_label(tmp_path: Path):
    text = "path,sad,angry,happy\na.wav,0.2,0.5,0.3\nb.wav,0.4,0.4,0.2\nc.wav,,,\nd.wav,0.33,0.33,0.33\n"
    corpus = corpus_of(tmp_path / "c.csv", text, classes=["angry", "happy", "sad"])
    scan = corpus.scan()
    assert list(scan.faults) == []
    probabilities = scan.table["emotion_probs"].to_pylist()
    assert probabilities[0] == pytest.approx([0.5, 0.3, 0.2])
    assert probabilities[2] is None
    assert sum(probabilities[3]) == pytest.approx(1.0, abs=1e-6)
    assert scan.table["emotion"].to_pylist() == ["angry", None, None, None]
    assert corpus.facts().classes == ("angry", "happy", "sad")


@pytest.mark.parametrize("cells", ["0.5,0.6", "-0.5,1.5", "1,", "1,x", "inf,0", "0,0"])
def test_a_bad_soft_label_is_a_fault_of_its_row(tmp_path: Path, cells: str):
    (fault,) = faults_of(tmp_path / "c.csv", f"path,sad,angry\na.wav,{cells}\n", classes=["sad", "angry"])
    assert fault.startswith("row 2, emotion_probs: ")
    assert fault.endswith("allowed: 2 numbers from 0 to 1 that sum to 1, or all empty for unknown")


def test_a_soft_label_needs_a_column_for_each_class(tmp_path: Path):
    (fault,) = faults_of(tmp_path / "c.csv", "path,sad\na.wav,1\n", classes=["sad", "angry"])
    assert fault == "angry: soft label without this class; allowed: a column for each of sad, angry"


def test_a_given_emotion_stands_beside_a_soft_label(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", "path,emotion,sad,angry\na.wav,sad,0.4,0.6\n", classes=["sad", "angry"]).scan()
    assert scan.table["emotion"].to_pylist() == ["sad"]


def test_classes_come_sorted_from_the_table(tmp_path: Path):
    assert corpus_of(tmp_path / "c.csv", "path,emotion\na.wav,sad\nb.wav,angry\nc.wav,\n").facts().classes == ("angry", "sad")


def test_classes_that_differ_in_case_alone_are_a_fault(tmp_path: Path):
    (fault,) = faults_of(tmp_path / "c.csv", "path,emotion\na.wav,sad\nb.wav,Sad \n")
    assert fault == "emotion: 'Sad ' and 'sad' differ only in case or blanks; allowed: one spelling, or `classes`"


def test_absolute_paths_below_the_root_become_relative(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", f"path\n{tmp_path}/x/a.wav\n/else/b.wav\n").scan()
    assert scan.table["path"].to_pylist() == ["x/a.wav", "/else/b.wav"]
    scan = corpus_of(tmp_path / "c.csv", "path\n/else/b.wav\n", root="/").scan()
    assert scan.table["path"].to_pylist() == ["else/b.wav"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", b"", "the table is empty, without even a header"),
        ("c.csv", b"path\n", "has a header but no rows"),
        ("c.csv", b"path;text\na.wav;x\n", "if cells end at ';', save the table with commas .*`delimiter: ';'`"),
        ("c.csv", b"path,path\na,b\n", "'path' stand twice"),
        ("c.csv", "path\na.wav\nü.wav\n".encode("latin-1"), "line 3 is not UTF-8"),
        ("c.csv", b'path\n"a.wav\n', "not valid CSV"),
        ("c.xlsx", b"", r"a table is a file ending in \.csv, \.tsv, \.parquet, \.pq"),
        ("c.parquet", b"path\na.wav\n", "not a Parquet file"),
    ],
)
def test_what_is_no_table_is_one_clear_error(tmp_path: Path, name: str, text: bytes, message: str):
    with pytest.raises(ManifestError, match=message):
        corpus_of(tmp_path / name, text).scan()


def test_a_missing_table_is_a_clear_error(tmp_path: Path):
    with pytest.raises(ManifestError, match="no such table"):
        corpus_of(tmp_path / "none.csv").scan()
    with pytest.raises(ManifestError, match=r"cannot be read|no such table"):
        (tmp_path / "folder.csv").mkdir()
        corpus_of(tmp_path / "folder.csv").scan()


def test_other_delimiters(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", "path;valence\na.wav;1.5\n", delimiter=";").scan()
    assert scan.table["valence"].to_pylist() == [1.5]
    scan = corpus_of(tmp_path / "c.tsv", "path\tvalence\na.wav\t1.5\n").scan()
    assert scan.table["valence"].to_pylist() == [1.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value_ranges": {"valence": [5, -5]}}, r"value_ranges: valence: a range is \[lowest, highest\]"),
        ({"value_ranges": {"valense": [-5, 5]}}, "valense"),
        ({"classes": ["a", "a"]}, "classes: a class is listed twice"),
        ({"columns": {"speaker": "x"}}, "columns: 'speaker' is no column of the manifest; did you mean 'speaker_id'"),
        ({"columns": {"path": "x", "text": "x"}}, "columns: one column of the table is given to two"),
        ({"clases": ["a"]}, "clases: unknown key; did you mean 'classes'"),
    ],
)
def test_wrong_options_are_config_errors(tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        corpus_of(tmp_path / "c.csv", **options)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a=b", "a b", "_a", "ä", "a(1)", "a,b"])
def test_a_corpus_name_is_a_folder_of_the_store(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=r"corpus_name: .* cannot name a folder of the store; allowed: letters"):
        corpus_of(tmp_path / "c.csv", corpus_name=name)


def test_a_table_whose_name_cannot_be_a_folder_needs_a_corpus_name(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"corpus\.corpus_name: required, because the default 'my clips \(v2\)'"):
        corpus_of(tmp_path / "my clips (v2).csv", "path\na.wav\n").facts()
    assert corpus_of(tmp_path / "my clips (v2).csv", corpus_name="c").facts().corpus == "c"


def test_a_header_without_media_or_text_is_all_that_is_reported(tmp_path: Path):
    faults = faults_of(tmp_path / "c.csv", "file,valence\na.wav,high\nb.wav,low\n")
    assert [fault.partition(";")[0] for fault in faults] == ["path: column is missing", "file: unknown column 'file'"]


def test_a_value_too_large_for_the_manifest_is_not_finite(tmp_path: Path):
    scan = corpus_of(tmp_path / "c.csv", "path,valence\na.wav,1e300\n").scan()
    assert scan.table["valence"].to_pylist() == [math.inf]
