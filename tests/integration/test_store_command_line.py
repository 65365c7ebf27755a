"""The verbs `mer-ray store ...` as a user types them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mer_ray.cli import main
from mer_ray.core.media_types import Features
from mer_ray.store.layout import open_store
from mer_ray.store.lease import hold_leases
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

IDENTITY = "e" * 64
RECORD = EncoderRecord(
    name="spectral", key=encoder_key("spectral", IDENTITY), identity=IDENTITY, config={}, modality="audio", layers={"all": 4}
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    values = np.ones(4, np.float32)
    for clips in (("c1", "c2"), ("c2", "c3")):
        rows = [FeatureRow(clip, "a", Features(3, 0.02, {"all": values}, {"all": values})) for clip in clips]
        write_features(open_store("store"), "emodb", RECORD, rows)
    return tmp_path / "store"


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mer-ray", "store", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run


def test_look_check_compact_and_remove(root, call):
    code, out, _ = call("ls", "store")
    assert code == 0
    assert "1 x 4" in out
    assert call("check", "store", "--deep")[0] == 0
    code, out, _ = call("compact", "store", "emodb", "spectral")
    assert (code, len(list(root.rglob("part-*")))) == (0, 1)
    Path("forget.txt").write_text("c2\nc7\n")
    code, out, _ = call("remove", "store", "--clips", "forget.txt", "--corpus", "emodb")
    assert code == 0
    assert "1 rows of 1 clips removed" in out
    assert "proved: none of the clips is in the 1 parts left" in out
    assert "1 of the clips have no row in the store: c7" in out
    code, out, _ = call("check", "store")
    assert "no faults; ids were read; --deep reads every value" in out


def test_faults_are_a_line_each_and_the_exit_is_1(root, call):
    for path in root.rglob("part-*"):
        path.write_bytes(b"PAR1")
    code, _, err = call("check", "store")
    assert code == 1
    assert len(err.splitlines()) == 2
    assert all(line.startswith("mer-ray: error: ") and "remove the file" in line for line in err.splitlines())
    for words in (("ls", "elsewhere"), ("check", "elsewhere"), ("compact", "store", "msp"), ("remove", "store", "--clips", "none.txt")):
        code, _, err = call(*words)
        assert (code, len(err.splitlines())) == (1, 1), words


def test_a_removal_beside_an_extraction_is_refused_in_one_line(root, call):
    Path("forget.txt").write_text("c2\n")
    with hold_leases(open_store(root), "emodb", [RECORD.key], part=(2, 3)):
        code, _, err = call("remove", "store", "--clips", "forget.txt")
    assert code == 1
    assert "a removal of clips cannot start beside the extraction of part 2/3 by process" in err
    assert len(err.splitlines()) == 1
