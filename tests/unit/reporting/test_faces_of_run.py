import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_run import RunMaker

from mer_ray.core.media_types import Features
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.reporting.faces import MAX_WORST, faces_of
from mer_ray.reporting.runs import read_run
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

IDENTITY = "01234567" * 8
KEY = encoder_key("gradient", IDENTITY)


def write_store(folder: Path, shares: list[float | None]) -> None:
    record = EncoderRecord(name="gradient", key=KEY, identity=IDENTITY, config={}, modality="vision", layers={"a": 2}, detects_faces=True)
    vector_D = np.zeros(2, np.float32)
    rows = []
    for clip, share in enumerate(shares):
        has_frames = share is not None and share < 1
        features = Features(3, 0.1, {"a": vector_D}, {"a": vector_D}, {}, share) if has_frames else Features(0, 0.0, no_face_share=share)
        rows.append(FeatureRow(f"clip_{clip:03d}", "hash", features))
    write_features(open_store(folder), "synthetic", record, rows)


def found(make_run: RunMaker, store: Path | None, streams: tuple[str, ...] = ("gradient",), name: str = "fused") -> dict[str, Any]:
    return faces_of(read_run(make_run(name, streams=streams, config={} if store is None else {"store": str(store)})))


def test_shares_are_summed_up_and_the_worst_clips_named(make_run: RunMaker, tmp_path: Path) -> None:
    write_store(tmp_path / "store", [0.0, 1.0, 0.75, None, 0.25])
    faces = found(make_run, tmp_path / "store")
    assert faces["note"] is None
    assert faces["encoders"] == [{"encoder": KEY, "num_clips": 4, "share": 0.5, "num_without": 1, "num_mostly_without": 2}]
    assert [(row["clip_id"], row["share"]) for row in faces["worst"]] == [("clip_001", 1.0), ("clip_002", 0.75), ("clip_004", 0.25)]


def test_only_the_worst_are_listed(make_run: RunMaker, tmp_path: Path) -> None:
    write_store(tmp_path / "store", list(np.linspace(0, 0.9, MAX_WORST + 5)))
    worst = found(make_run, tmp_path / "store")["worst"]
    assert len(worst) == MAX_WORST
    assert worst[0]["share"] == pytest.approx(0.9)


def test_a_clip_with_faces_everywhere_is_no_bad_clip(make_run: RunMaker, tmp_path: Path) -> None:
    write_store(tmp_path / "store", [0.0, 0.0])
    faces = found(make_run, tmp_path / "store")
    assert faces["encoders"][0]["share"] == 0
    assert faces["worst"] == []


def test_encoders_that_look_for_no_faces_are_not_listed(make_run: RunMaker, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    record = EncoderRecord(name="gradient", key=KEY, identity=IDENTITY, config={}, modality="vision", layers={"a": 2})
    write_features(store, "synthetic", record, [FeatureRow("clip", "hash", Features(0, 0.0))])
    assert found(make_run, tmp_path / "store") == {"note": None, "encoders": [], "worst": []}
    assert found(make_run, tmp_path / "gone", ("spectral", "hashing"), name="other") == {"note": None, "encoders": [], "worst": []}


def test_a_lost_store_is_said(make_run: RunMaker, tmp_path: Path) -> None:
    assert f"holds no encoder {KEY} of corpus synthetic any more" in found(make_run, tmp_path / "gone")["note"]
    assert "names no store" in found(make_run, None, name="other")["note"]


def test_the_page_shows_them(make_run: RunMaker, tmp_path: Path) -> None:
    write_store(tmp_path / "store", [0.0, 1.0, 0.25])
    folder = make_run(streams=("gradient",), config={"store": str(tmp_path / "store")})
    text = write_report(ReportConfig(runs=(folder,), out=tmp_path / "report.html")).path.read_text(encoding="utf-8")
    card = re.search(r"<h3>Did the encoders see a face\?</h3>(.*?)<h3>", text, re.DOTALL)
    assert card is not None
    assert re.search(r'<td class="n">41\.7</td><td class="n">1</td><td class="n">1</td><td class="n">3</td>', card[1])
    assert re.search(r"clip_001</th><td class=\"id\">gradient@01234567</td><td class=\"n\">100</td>", card[1])
    without = write_report(ReportConfig(runs=(make_run("sound", streams=("spectral",)),), out=tmp_path / "sound.html"))
    assert "see a face" not in without.path.read_text(encoding="utf-8")
