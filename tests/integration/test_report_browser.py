"""The report of real trainings, opened in a real browser that is watched through its debugging protocol."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FailureRow, FeatureRow, write_failures, write_features
from mer_ray.training.config import TrainConfig
from mer_ray.training.train import train

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CLASSES = ("neutral", "angry", "happy", "sad", "worried", "surprise")
ENCODERS = {"spectral": "audio", "gradient": "vision", "hashing": "text"}
NUM_CLIPS, DIM = 120, 6
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package `chromium`"),
]


@dataclass
class Visit:
    """What the browser met: console errors and exceptions, addresses it asked for, and what the script gave back."""

    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    value: Any = None


def write_corpus(folder: Path) -> TrainConfig:
    """A manifest and a store whose features tell the class with noise; one clip failed, every tenth lacks its sound."""
    random = np.random.default_rng(0)
    labels = random.integers(0, len(CLASSES), NUM_CLIPS)
    rows = [
        {
            "clip_id": f"clip_{clip:03d}",
            "speaker_id": f"speaker {clip % 6}",
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


@pytest.fixture
def devtools(tmp_path: Path) -> Iterator[str]:
    """The websocket address of a page of a browser that ends with the test."""
    assert CHROMIUM is not None
    log = (tmp_path / "chromium.log").open("w")
    browser = subprocess.Popen([CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "about:blank"], stdout=log, stderr=log)
    try:
        yield _page_address(tmp_path, browser)
    finally:
        browser.terminate()
        browser.wait(timeout=20)
        log.close()


def _page_address(folder: Path, browser: subprocess.Popen[bytes]) -> str:
    port_file = folder / "profile/DevToolsActivePort"
    for _ in range(600):
        assert browser.poll() is None, (folder / "chromium.log").read_text()
        if port_file.is_file() and len(lines := port_file.read_text().splitlines()) == 2:
            return asyncio.run(_first_page(int(lines[0])))
        time.sleep(0.1)
    raise AssertionError("Chromium opened no debugging port within 60 s")


async def _first_page(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = [page for page in await answer.json() if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])


async def visit(address: str, page: Path, script: str, width: int, colours: str) -> Visit:
    """Open the page, wait until all figures are drawn, run the script."""
    found = Visit()
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        sent = 0

        async def call(method: str, **parameters: Any) -> dict[str, Any]:
            nonlocal sent
            sent += 1
            await socket.send_json({"id": sent, "method": method, "params": parameters})
            while True:
                message = await socket.receive_json(timeout=60)
                if message.get("id") == sent:
                    assert "error" not in message, message
                    result: dict[str, Any] = message["result"]
                    return result
                _note(message, found)

        for domain in ("Network", "Log", "Runtime", "Page"):
            await call(f"{domain}.enable")
        await call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        await call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
        await call("Page.navigate", url=page.as_uri())
        for _ in range(300):
            drawn = await call("Runtime.evaluate", expression="document.documentElement?.dataset.drawn ?? ''")
            if drawn["result"]["value"]:
                break
            await asyncio.sleep(0.1)
        answer = await call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        found.value = answer["result"]["value"]
    return found


def _note(message: dict[str, Any], found: Visit) -> None:
    method, parameters = message.get("method"), message.get("params", {})
    if method == "Network.requestWillBeSent":
        found.requests.append(parameters["request"]["url"])
    elif method == "Runtime.exceptionThrown":
        found.faults.append(str(parameters["exceptionDetails"]))
    elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
        found.faults.append(str(parameters["args"]))
    elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
        found.faults.append(str(parameters["entry"]))


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
    assert page.value["drawn"] == page.value["plots"] == 1 + 4 + 3
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
