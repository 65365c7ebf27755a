import json
from pathlib import Path

import huggingface_hub.constants
import pytest
from rich.console import Console

from mer_ray.encoders.catalogue import COLUMNS, LICENCE_COLUMNS, encoder_classes, is_cached, list_encoders


def test_every_encoder_of_the_union_has_a_row_that_says_what_it_is() -> None:
    licences, encoders = list_encoders()
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in encoders.rows]
    assert {row["encoder"] for row in rows} == {config.model_fields["name"].default for config in encoder_classes()}
    modalities = {row["encoder"]: row["reads"] for row in rows}
    assert (modalities["hubert"], modalities["gradient"], modalities["bert"]) == ("audio", "vision", "text")
    for row in rows:
        if row["weights"] != "none needed":
            assert row["dim"] > 0
            assert row["layers"] > 0
            assert row["M params"] > 0
    weights = [row["weights"] for row in rows if row["weights"] != "none needed"]
    for row, (name, licence, source) in zip(weights, licences.rows, strict=True):
        assert name == row
        assert licence
        assert source
    assert licences.columns == LICENCE_COLUMNS


def test_the_tables_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for table in list_encoders():
        table.show(Console(width=120))
    assert "baichuan-inc/Baichuan-13B-Base" in capsys.readouterr().out


def test_here_means_that_the_cache_holds_the_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert not is_cached("owner/model")
    snapshot = tmp_path / "models--owner--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (tmp_path / "models--owner--model" / "refs").mkdir()
    (tmp_path / "models--owner--model" / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text(json.dumps({}))
    assert not is_cached("owner/model")
    (snapshot / "model.safetensors").write_bytes(b"")
    assert is_cached("owner/model")
    assert not is_cached("a file.pth")
