"""The report of real trainings, opened in a real browser that is watched through its debugging protocol."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chromium import NEEDS_CHROMIUM, watched_page
from sklearn import metrics

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow, write_failures, write_features
from mer_ray.training.config import TrainConfig
from mer_ray.training.train import train

CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
ENCODERS = {"spectral": "audio", "gradient": "vision", "hashing": "text"}
NUM_CLIPS, DIM = 120, 6

pytestmark = NEEDS_CHROMIUM


@dataclass
class Visit:
    """What the browser met: console errors and exceptions, addresses it asked for, and what the script gave back."""

    faults: list[str]
    requests: list[str]
    value: Any


def write_corpus(folder: Path) -> TrainConfig:
    """A manifest and a store whose features tell the class with noise; one clip failed, every tenth lacks its sound."""
    random = np.random.default_rng(0)
    labels = random.integers(0, len(CLASSES), NUM_CLIPS)
    rows = [
        {
            "clip_id": f"clip_{clip:03d}",
            "speaker_id": f"speaker {clip % 6}",
            "sex": "female" if clip % 6 < 3 else "male",
            "duration_s": 1 + clip / 40,
            "fold": clip % 3,
            "text": f"<b>sentence</b> & {clip}",
            "emotion": CLASSES[labels[clip]],
            "valence": float(labels[clip]) - 2.5 if clip % 7 else None,
        }
        for clip in range(NUM_CLIPS)
    ]
    table = pa.Table.from_pylist([dict.fromkeys(MANIFEST_SCHEMA.names) | row for row in rows], MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("planted", CLASSES, "/")), folder / "manifest.parquet")
    store = open_store(folder / "store")
    for number, (name, modality) in enumerate(ENCODERS.items()):
        identity = str(number) * 64
        record = EncoderRecord(
            name=name, key=encoder_key(name, identity), identity=identity, config={}, modality=modality, layers={"a": DIM}
        )
        x_ND = (1.2 * np.eye(DIM)[labels] + random.normal(size=(NUM_CLIPS, DIM))).astype(np.float32)
        features = [
            FeatureRow(
                f"clip_{clip:03d}",
                "hash",
                Features(0, 0.0) if name == "spectral" and clip % 10 == 0 else Features(5, 0.1, {"a": x_ND[clip]}, {"a": 0 * x_ND[clip]}),
            )
            for clip in range(NUM_CLIPS)
            if (name, clip) != ("gradient", 7)
        ]
        write_features(store, "planted", record, features)
        if name == "gradient":
            failure = FailureRow("clip_007", "hash", "decode", "MediaError", "no picture in <the file>", datetime.now(UTC))
            write_failures(store, "planted", record.key, [failure])
    return TrainConfig.model_validate(
        {
            "manifest": folder / "manifest.parquet",
            "store": str(folder / "store"),
            "out": folder / "runs/fused",
            "inputs": [{"encoder": name} for name in ENCODERS],
            "values": ["valence"],
            "protocol": {"name": "folds", "dev": "next_fold"},
            "seeds": [0, 1],
            "epochs": 12,
            "learning_rate": 0.02,
            "model": {"name": "attention", "hidden": 16},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    fused = write_corpus(folder)
    train(fused)
    train(TrainConfig.model_validate(fused.model_dump(mode="json") | {"out": folder / "runs/audio", "inputs": [{"encoder": "spectral"}]}))
    (folder / "corpus.json").write_text('{"ceilings": {"audio": 0.8, "vision": 0.8, "text": 0.8, "fused": 0.95}}')
    runs = (folder / "runs/audio", folder / "runs/fused")
    write_report(ReportConfig(runs=runs, out=folder / "report.html", ceilings=folder / "corpus.json"))
    return folder


async def visit(address: str, page: Path, script: str, width: int, colours: str) -> Visit:
    """Open the page, wait until all figures are drawn, run the script."""
    async with watched_page(address, width=width, colours=colours) as opened:
        await opened.go(page)
        value = await opened.run(script)
    return Visit(opened.faults, opened.requests, value)


def open_page(address: str, page: Path, script: str, width: int = 1280, colours: str = "light") -> Visit:
    return asyncio.run(visit(address, page, script, width, colours))


READ = """({
  data: JSON.parse(document.getElementById("mer-ray-data").textContent),
  drawn: [...document.querySelectorAll("[data-figure]")].filter((plot) => plot.querySelector("svg .trace, svg .points")).length,
  plots: document.querySelectorAll("[data-figure]").length,
  tables: Object.fromEntries([...document.querySelectorAll("section")].map((section) => [section.id,
    [...section.querySelectorAll("table")].map((table) => [...table.querySelectorAll("tbody tr")].map((row) =>
      [...row.cells].map((cell) => cell.innerText.trim())))])),
  text: document.body.innerText,
})"""


def test_page_opens_without_a_fault_and_shows_the_numbers_of_the_parquet(folder: Path, devtools: str) -> None:
    page = open_page(devtools, folder / "report.html", READ)
    assert page.faults == []
    assert [address for address in page.requests if not address.startswith("data:")] == [(folder / "report.html").as_uri()]
    assert page.value["drawn"] == page.value["plots"] == 1 + 6 + 5
    shown = {row[0].split("\n")[0]: row for row in page.value["tables"]["runs"][0]}
    assert [row["name"] for row in page.value["data"]["summary"]] == list(shown)
    for name in ("audio", "fused"):
        table = pq.read_table(folder / f"runs/{name}/predictions/test.parquet").to_pylist()
        by_seed = [[row for row in table if row["seed"] == seed] for seed in (0, 1)]
        pairs = [([row["label_emotion"] for row in rows], [row["emotion"] for row in rows]) for rows in by_seed]
        weighted = np.mean([metrics.f1_score(*pair, average="weighted") for pair in pairs])
        recalls = np.mean([metrics.recall_score(*pair, average=None, labels=CLASSES) for pair in pairs], axis=0)
        confusion = np.mean([metrics.confusion_matrix(*pair, labels=CLASSES) for pair in pairs], axis=0)
        data = next(run for run in page.value["data"]["runs"] if run["name"] == name)
        assert data["scores"]["weighted_f1"]["mean"] == pytest.approx(weighted)
        assert shown[name][1].startswith(f"{weighted:.3f}")
        assert [row["recall"] for row in data["per_class"]] == pytest.approx(recalls)
        matrix, per_class = page.value["tables"][f"run-{name}"][:2]
        assert [float(cell.split("\n")[1]) for row in matrix for cell in row[1:]] == pytest.approx(confusion.ravel(), abs=0.051)
        assert [row[2] for row in per_class] == [f"{recall:.3f}" for recall in recalls]
        known = [[row for row in rows if row["label_valence"] is not None] for rows in by_seed]
        errors = [metrics.mean_squared_error([row["label_valence"] for row in rows], [row["valence"] for row in rows]) for rows in known]
        assert data["scores"]["valence_mse"]["mean"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_page_tells_failures_texts_and_missing_sound(folder: Path, devtools: str) -> None:
    text = open_page(devtools, folder / "report.html", READ).value["text"]
    assert "no picture in <the file>" in text
    assert "<b>sentence</b> & " in text
    assert "without audio" in text


def test_groups_and_confidence_show_the_numbers_of_the_run(folder: Path, devtools: str) -> None:
    script = """[...document.querySelectorAll("#run-fused .groups table, #run-fused .groups .at, #run-fused .legend strong")].map((shown) =>
      shown.rows ? [...shown.rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim())) :
      shown.tagName === "I" ? shown.getBoundingClientRect().width : shown.innerText)"""
    page = open_page(devtools, folder / "report.html", script)
    tables = {shown[0][0]: shown[1:] for shown in page.value if isinstance(shown, list)}
    assert {name: [row[0] for row in rows] for name, rows in tables.items() if name in ("inputs", "duration")} == {
        "inputs": ["all present", "without audio", "without vision"],
        "duration": ["up to 1.7 s", "1.7 to 2.5 s", "2.5 to 3.2 s", "over 3.2 s"],
    }
    rows = pq.read_table(folder / "runs/fused/predictions/test.parquet").to_pylist()
    for sex, _, weighted, _, accuracy in tables["sex"]:
        number = {"female": range(3), "male": range(3, 6)}[sex]
        part = [row for row in rows if int(row["speaker_id"].removeprefix("speaker ")) in number]
        assert accuracy.startswith(f"{np.mean([row['emotion'] == row['label_emotion'] for row in part]):.3f}\n[")
        assert "[" in weighted
    dots = [shown for shown in page.value if isinstance(shown, (int, float))]
    assert len(dots) == sum(len(rows) for rows in tables.values()) and min(dots) > 0
    errors = json.loads((folder / "runs/fused/scores.json").read_text())["calibration"]["splits"]["test"]
    assert [shown for shown in page.value if isinstance(shown, str)] == [f"{errors[name]:.3f}" for name in ("ece", "ece_scaled")]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_and_figures_follow_the_colours(folder: Path, devtools: str, width: int, colours: str) -> None:
    script = """({
      page: document.documentElement.scrollWidth, window: window.innerWidth,
      wide: [...document.querySelectorAll("[data-figure] svg.main-svg")]
        .filter((plot) => plot.getBoundingClientRect().right > window.innerWidth).length,
      ink: getComputedStyle(document.body).color,
      label: getComputedStyle(document.querySelector("[data-figure=runs] .textpoint text")).fill,
    })"""
    page = open_page(devtools, folder / "report.html", script, width, colours)
    assert page.faults == []
    assert page.value["page"] <= page.value["window"] == width
    assert page.value["wide"] == 0
    assert page.value["label"] == page.value["ink"]
    assert (page.value["ink"] == "rgb(231, 234, 240)") == (colours == "dark")


def test_paper_is_light_on_a_dark_screen(folder: Path, devtools: str) -> None:
    script = """(() => {
      const label = () => getComputedStyle(document.querySelector("[data-figure=runs] .textpoint text")).fill;
      const fire = (name) => { window.dispatchEvent(new Event(name)); return label(); };
      return [label(), fire("beforeprint"), fire("afterprint")];
    })()"""
    page = open_page(devtools, folder / "report.html", script, colours="dark")
    assert page.value == ["rgb(231, 234, 240)", "rgb(0, 0, 0)", "rgb(231, 234, 240)"]
