import csv
from pathlib import Path

from mer_ray.corpora.faults import Fault, faults_error, in_source_order, write_faults

TABLE = Fault(None, None, "path", "column is missing", "a path")
ROW = Fault(7, "ä, b", "text", 'says "no"', "yes")


def test_faults_of_the_table_come_first():
    assert in_source_order([ROW, Fault(2, None, None, "x", "y"), TABLE]) == [TABLE, Fault(2, None, None, "x", "y"), ROW]


def test_the_error_lists_every_fault_once():
    assert str(faults_error("c.csv", [TABLE, ROW], "mend them")).splitlines() == [
        "c.csv: 2 faults; mend them",
        "  path: column is missing; allowed: a path",
        "  row 7, clip 'ä, b', text: says \"no\"; allowed: yes",
    ]


def test_a_long_list_ends_with_how_many_more():
    lines = str(faults_error("c.csv", [Fault(row, None, None, f"x{row}", "y") for row in range(73)], "mend them")).splitlines()
    assert len(lines) == 52
    assert lines[-2:] == ["  row 49: x49; allowed: y", "  ... and 23 more"]


def test_many_faults_that_are_alike_are_one_line():
    outside = [Fault(row, f"c{row}", "path", f"'/else/{row}.wav' is outside the root", "paths below /data") for row in range(2, 70)]
    other = [Fault(3, "c3", "valence", "9 is out of range", "-5 to 5"), Fault(4, "c4", "valence", "9 is out of range", "-5 to 5")]
    assert str(faults_error("c.csv", in_source_order([*outside, *other]), "mend them")).splitlines() == [
        "c.csv: 70 faults; mend them",
        "  68 rows, e.g. row 2, clip 'c2', path: '/else/2.wav' is outside the root; allowed: paths below /data",
        "  row 3, clip 'c3', valence: 9 is out of range; allowed: -5 to 5",
        "  row 4, clip 'c4', valence: 9 is out of range; allowed: -5 to 5",
    ]


def test_the_table_of_faults_reads_back(tmp_path: Path):
    write_faults([TABLE, ROW], tmp_path / "f.csv")
    with (tmp_path / "f.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [
            {"row": "", "clip_id": "", "column": "path", "what": "column is missing", "allowed": "a path"},
            {"row": "7", "clip_id": "ä, b", "column": "text", "what": 'says "no"', "allowed": "yes"},
        ]
