"""The error page of real trainings in a real browser: clips play, keys give labels, the CSV is saved."""

import asyncio
import csv
import io
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from chromium import NEEDS_CHROMIUM, Page, watched_page
from media_factory import moving_noise, tone, write_media, write_wave

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features
from mer_ray.corpora.corrections import read_corrections
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features
from mer_ray.training.config import TrainConfig
from mer_ray.training.train import train

CLASSES = ("neutral", "angry", "happy")
NUM_CLIPS, NUM_UNLABELLED, DIM = 48, 6, 4
QUOTED, SOUND_ALONE, GONE, TEXT_ALONE = 'clip "3", of a, b', "clip_04", "clip_05", "clip_06"
# Both runs list every test clip, so that the cards are known.
LISTED = {"max_mistakes": 0, "max_uncertain": 100}

pytestmark = NEEDS_CHROMIUM

Use = Callable[[Page], Awaitable[None]]


def clip_id_of(clip: int) -> str:
    return QUOTED if clip == 3 else f"clip_{clip:02d}"


def write_corpus(folder: Path) -> TrainConfig:
    """Twelve test clips of every kind of media, some unlabelled ones, features without a signal."""
    write_media(folder / "clip.mp4", moving_noise(75, 96, 64), tone(3.0))
    write_wave(folder / "clip.wav", (tone(2.0).T * 32767).astype(np.int16))
    random = np.random.default_rng(0)
    paths = {SOUND_ALONE: "clip.wav", GONE: "gone.mp4", TEXT_ALONE: None}
    rows = []
    for clip in range(NUM_CLIPS):
        split = "test" if clip < 12 else "more" if clip >= NUM_CLIPS - NUM_UNLABELLED else "dev" if clip % 5 == 0 else "train"
        row = {"clip_id": clip_id_of(clip), "speaker_id": f"speaker {clip % 4}", "split": split, "text": f"sentence <{clip}>"}
        row |= {"path": paths.get(row["clip_id"], "clip.mp4"), "emotion": None if split == "more" else CLASSES[clip % 3]}
        rows.append(dict.fromkeys(MANIFEST_SCHEMA.names) | row)
    table = pa.Table.from_pylist(rows, MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("planted", CLASSES, str(folder))), folder / "manifest.parquet")
    store = open_store(folder / "store")
    for number, (name, modality) in enumerate({"spectral": "audio", "hashing": "text"}.items()):
        identity = str(number) * 64
        record = EncoderRecord(
            name=name, key=encoder_key(name, identity), identity=identity, config={}, modality=modality, layers={"a": DIM}
        )
        x_ND = random.normal(size=(NUM_CLIPS, DIM)).astype(np.float32)
        rows_of = [
            FeatureRow(clip_id_of(clip), "hash", Features(5, 0.1, {"a": x_ND[clip]}, {"a": 0 * x_ND[clip]})) for clip in range(NUM_CLIPS)
        ]
        write_features(store, "planted", record, rows_of)
    return TrainConfig.model_validate(
        {
            "manifest": folder / "manifest.parquet",
            "store": str(folder / "store"),
            "out": folder / "runs/audio",
            "inputs": [{"encoder": "spectral"}],
            "protocol": {"name": "splits", "test": ["test", "more"]},
            "seeds": [0, 1],
            "epochs": 3,
            "model": {"name": "attention", "hidden": 8},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("error page")
    audio = write_corpus(folder)
    train(audio)
    train(TrainConfig.model_validate(audio.model_dump(mode="json") | {"out": folder / "runs/text", "inputs": [{"encoder": "hashing"}]}))
    runs = (folder / "runs/audio", folder / "runs/text")
    write_report(ReportConfig(runs=runs, out=folder / "report #1.html", **LISTED))
    return folder


def in_browser(address: str, page: Path, use: Use, *, width: int = 1280) -> Page:
    """Open the page with an empty memory, use it, and give it back."""

    async def run() -> Page:
        async with watched_page(address, width=width) as opened:
            await opened.go(page)
            await use(opened)
            return opened

    return asyncio.run(run())


def card(clip_id: str) -> str:
    """A JavaScript expression for the card of a clip."""
    return f"[...document.querySelectorAll('.clip')].find((one) => one.querySelector('h3 .id').textContent === {clip_id!r})"


FOCUSED = "document.activeElement.closest('.clip')?.querySelector('h3 .id').textContent ?? null"
COUNT = "document.getElementById('clips-count').textContent"
LIST = "[...document.querySelectorAll('#clips-list li')].map((item) => item.textContent.replace(/\\s*take back$/, ''))"


async def focus(page: Page, clip_id: str) -> None:
    await page.run(f"{card(clip_id)}.focus()")
    assert await page.run(FOCUSED) == clip_id


async def saved(page: Page, folder: Path) -> bytes:
    """What `s` downloads."""
    folder.mkdir()
    await page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    await page.press("s")
    for _ in range(200):
        if (folder / "corrections.csv").is_file():
            return (folder / "corrections.csv").read_bytes()
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing was downloaded, but {list(folder.iterdir())}")


def test_each_clip_has_one_card_and_its_media(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        ids = await page.run("[...document.querySelectorAll('.clip h3 .id')].map((one) => one.textContent)")
        assert sorted(ids) == sorted(clip_id_of(clip) for clip in [*range(12), *range(NUM_CLIPS - NUM_UNLABELLED, NUM_CLIPS)])
        says = await page.run(f"[...{card('clip_00')}.querySelectorAll('.verdicts strong')].map((one) => one.textContent)")
        assert sorted(says) == ["audio", "text"]
        assert await page.run(f"{card('clip_00')}.querySelector('blockquote').textContent") == "sentence <0>"
        assert await page.run(f"{card(SOUND_ALONE)}.querySelector('audio') !== null")
        assert "gone.mp4: no such file" in await page.run(f"{card(GONE)}.querySelector('.note').textContent")
        assert "no sound and no pictures" in await page.run(f"{card(TEXT_ALONE)}.querySelector('.note').textContent")
        assert await page.run(f"{card('clip_45')}.querySelector('.seen')") is None

    page = in_browser(devtools, folder / "report #1.html", use)
    assert page.faults == []
    assert {Path(address).parent.name for address in page.requests if address.endswith(".jpg")} == {"report%20%231_media"}


def test_space_plays_picture_and_sound_and_moving_on_stops_the_other(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        video = f"{card('clip_00')}.querySelector('video')"
        await focus(page, "clip_00")
        await page.press(" ")
        await page.wait_for(f"{video}.currentTime > 0.2")
        assert await page.run(f"[{video}.videoWidth, {video}.videoHeight]") == [96, 64]
        assert await page.run(f"{video}.duration") == pytest.approx(3.0, abs=0.1)
        assert await page.run(f"{video}.webkitAudioDecodedByteCount") > 0
        await page.press(" ")
        assert await page.run(f"{video}.paused")
        await page.press(" ")
        await focus(page, SOUND_ALONE)
        await page.press(" ")
        await page.wait_for(f"{card(SOUND_ALONE)}.querySelector('audio').currentTime > 0.2")
        assert await page.run(f"{video}.paused")

    assert in_browser(devtools, folder / "report #1.html", use).faults == []


def test_clips_play_on_arrival_where_that_is_ticked(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        await page.run("document.getElementById('clips-autoplay').click()")
        await focus(page, "clip_00")
        await page.press("j", "k")
        await page.wait_for(f"{card('clip_00')}.querySelector('video').currentTime > 0.1")

    assert in_browser(devtools, folder / "report #1.html", use).faults == []


def test_space_on_the_player_itself_acts_once(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        video = f"{card('clip_00')}.querySelector('video')"
        await page.run(f"{video}.focus()")
        await page.press(" ")
        await page.wait_for(f"{video}.currentTime > 0.1")
        assert not await page.run(f"{video}.paused")

    in_browser(devtools, folder / "report #1.html", use)


def test_keys_move_from_card_to_card(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        ids = await page.run("[...document.querySelectorAll('.clip h3 .id')].map((one) => one.textContent)")
        seen = []
        for key in ("j", "j", "ArrowDown", "ArrowRight", "k", "ArrowUp", "ArrowLeft", "k"):
            await page.press(key)
            seen.append(ids.index(await page.run(FOCUSED)))
        assert seen == [0, 1, 2, 3, 2, 1, 0, 0]
        assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert "first clip" in await page.run("document.getElementById('clips-status').textContent")
        await page.wait_for("((place) => place.top >= 0 && place.bottom <= innerHeight)(document.activeElement.getBoundingClientRect())")

    in_browser(devtools, folder / "report #1.html", use)


def test_digits_give_labels_and_s_saves_them(folder: Path, devtools: str, tmp_path: Path) -> None:
    async def use(page: Page) -> None:
        for clip_id, keys in {
            "clip_00": "3",  # neutral -> happy
            QUOTED: "2n",  # neutral -> angry, with a note
            SOUND_ALONE: "2",  # angry, confirmed
            GONE: "x",
            TEXT_ALONE: "u",
            "clip_44": "1",  # was unlabelled
            "clip_07": "9",  # there is no ninth class
        }.items():
            await focus(page, clip_id)
            await page.press(*keys)
        await focus(page, QUOTED)
        await page.press("n")
        await page.call("Input.insertText", text='he said "no", twice')
        await page.press("Escape")
        assert await page.run(FOCUSED) == QUOTED
        assert await page.run(COUNT) == "6 corrections"
        assert await page.run(LIST) == [
            "clip_00 neutral → happy",
            f'{QUOTED} neutral → angry (he said "no", twice)',
            f"{SOUND_ALONE} angry confirmed",
            f"{GONE} left out",
            f"{TEXT_ALONE} neutral → unknown",
            "clip_44 unknown → neutral",
        ]
        pressed = f"[...{card('clip_00')}.querySelectorAll('[aria-pressed=true]')].map((one) => one.dataset.emotion)"
        assert await page.run(pressed) == ["happy"]
        data = await saved(page, tmp_path / "downloads")
        assert data == (
            b"clip_id,emotion,old_emotion,note\r\n"
            b"clip_00,happy,neutral,\r\n"
            b'"clip ""3"", of a, b",angry,neutral,"he said ""no"", twice"\r\n'
            b"clip_04,angry,angry,\r\n"
            b"clip_05,-,happy,\r\n"
            b"clip_06,,neutral,\r\n"
            b"clip_44,neutral,,\r\n"
        )
        assert len(list(csv.reader(io.StringIO(data.decode(), newline="")))) == 7

    assert in_browser(devtools, folder / "report #1.html", use).faults == []
    corrections, faults = read_corrections(tmp_path / "downloads/corrections.csv")
    assert faults == []
    assert [(one.clip_id, one.emotion, one.old_emotion) for one in corrections][1] == (QUOTED, "angry", "neutral")


def test_corrections_survive_a_reload_and_are_taken_back(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        await focus(page, "clip_01")
        await page.press("1")
        await focus(page, "clip_02")
        await page.press("0")
        await page.run("document.documentElement.removeAttribute('data-drawn')")
        await page.call("Page.reload")
        await page.wait_for("document.documentElement?.dataset.drawn")
        assert await page.run(LIST) == ["clip_01 angry → neutral", "clip_02 happy → unknown"]
        await focus(page, "clip_01")
        await page.press("Backspace")
        assert await page.run(LIST) == ["clip_02 happy → unknown"]
        await page.run(f"{card('clip_02')}.querySelector('[aria-pressed=true]').click()")
        assert await page.run(COUNT) == "No corrections yet"
        assert await page.run("document.getElementById('clips-save').disabled")

    in_browser(devtools, folder / "report #1.html", use)


def test_a_browser_that_keeps_nothing_says_so_and_saves_all_the_same(folder: Path, devtools: str, tmp_path: Path) -> None:
    async def use(page: Page) -> None:
        refusal = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=refusal)
        await page.run("document.documentElement.removeAttribute('data-drawn')")
        await page.call("Page.reload")
        await page.wait_for("document.documentElement?.dataset.drawn")
        await focus(page, "clip_01")
        await page.press("1")
        assert "save before you leave" in await page.run("document.getElementById('clips-kept').innerText")
        assert await saved(page, tmp_path / "downloads") == b"clip_id,emotion,old_emotion,note\r\nclip_01,neutral,angry,\r\n"

    assert in_browser(devtools, folder / "report #1.html", use).faults == []


def test_clips_of_two_corpora_are_saved_apart(folder: Path, devtools: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "runs/text", other)
    (other / "run.json").write_text(json.dumps(json.loads((other / "run.json").read_text()) | {"corpus": "elsewhere"}))
    write_report(ReportConfig(runs=(folder / "runs/audio", other), out=tmp_path / "two.html", **LISTED))

    async def use(page: Page) -> None:
        both = "[...document.querySelectorAll('.clip')].filter((one) => one.querySelector('h3 .id').textContent === 'clip_01')"
        await page.run(f"{both}.forEach((one) => one.querySelector('[data-emotion=happy]').click())")
        await page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        await page.press("s")
        await page.wait_for("document.getElementById('clips-status').textContent === 'Saved: 2 files.'")
        for corpus in ("planted", "elsewhere"):
            path = tmp_path / f"corrections_{corpus}.csv"
            while not path.is_file():
                await asyncio.sleep(0.05)
            assert path.read_bytes() == b"clip_id,emotion,old_emotion,note\r\nclip_01,happy,angry,\r\n"

    in_browser(devtools, tmp_path / "two.html", use)


def test_typing_a_note_triggers_nothing_and_a_note_alone_keeps_the_label(folder: Path, devtools: str, tmp_path: Path) -> None:
    async def use(page: Page) -> None:
        await focus(page, "clip_01")
        await page.press("n", "j", "k", "1", "x", "s", " ", "0")
        assert await page.run("document.activeElement.value") == "jk1xs 0"
        assert await page.run(LIST) == ["clip_01 stays angry (jk1xs 0)"]
        assert await page.run(f"{card('clip_01')}.querySelector('video').paused")
        await page.press("Enter")
        assert await saved(page, tmp_path / "downloads") == b"clip_id,emotion,old_emotion,note\r\nclip_01,angry,angry,jk1xs 0\r\n"
        await page.press("Backspace")
        assert await page.run(COUNT) == "No corrections yet"
        assert await page.run(f"{card('clip_01')}.querySelector('.remark input').value") == ""

    in_browser(devtools, folder / "report #1.html", use)


def test_keys_leave_the_rest_of_the_page_and_the_browser_alone(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        await page.run("document.querySelector('nav a').focus()")
        await page.press("j", "1", "x")
        assert await page.run(FOCUSED) is None
        await focus(page, "clip_01")
        await page.press("2", ctrl=True)
        assert await page.run(COUNT) == "No corrections yet"

    in_browser(devtools, folder / "report #1.html", use)


def test_filters_show_what_a_run_lists_in_its_order(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        await page.run("document.getElementById('clips-run').value = 'run-text'")
        await page.run("document.getElementById('clips-run').dispatchEvent(new Event('change'))")
        shown = await page.run("[...document.querySelectorAll('.clip:not([hidden]) h3 .id')].map((one) => one.textContent)")
        cards = await page.run("JSON.parse(document.getElementById('mer-ray-data').textContent).clips.cards")
        ranks = {
            one["clip_id"]: verdict["ranks"]["uncertain"]
            for one in cards
            for verdict in one["verdicts"]
            if verdict["run"] == "run-text" and verdict["ranks"]
        }
        assert shown == sorted(ranks, key=ranks.__getitem__)
        verdict = next(verdict for one in cards if one["clip_id"] == "clip_00" for verdict in one["verdicts"] if verdict["name"] == "text")
        share = await page.run(f"{card('clip_00')}.querySelector('[data-emotion=angry] .share').textContent")
        assert share == f"{100 * verdict['probabilities'][1]:.0f} %"
        assert f"{len(ranks)} of {len(cards)} clips" == await page.run("document.getElementById('clips-shown').textContent")

    in_browser(devtools, folder / "report #1.html", use)


def test_a_copy_that_is_not_there_is_said(folder: Path, devtools: str, tmp_path: Path) -> None:
    lonely = tmp_path / "moved.html"
    lonely.write_bytes((folder / "report #1.html").read_bytes())

    async def use(page: Page) -> None:
        await focus(page, "clip_00")
        await page.press(" ", "3")
        await page.wait_for(f"{card('clip_00')}.querySelector('.screen .note') !== null")
        assert await page.run(COUNT) == "1 correction"

    in_browser(devtools, lonely, use)


def test_without_media_the_page_is_as_before(folder: Path, devtools: str) -> None:
    runs = (folder / "runs/audio", folder / "runs/text")
    out = folder / "plain.html"
    write_report(ReportConfig(runs=runs, out=out, media="none"))

    async def use(page: Page) -> None:
        await page.press("j", "s", "1")
        assert await page.run("document.getElementById('clips')") is None
        assert await page.run("document.querySelectorAll('video, audio, [href=\"#clips\"]').length") == 0

    page = in_browser(devtools, out, use)
    assert page.faults == []
    assert [address for address in page.requests if not address.startswith("data:")] == [out.as_uri()]
    assert not (folder / "plain_media").exists()


def test_nothing_sticks_out_on_a_telephone(folder: Path, devtools: str) -> None:
    async def use(page: Page) -> None:
        await focus(page, QUOTED)
        await page.press("2")
        assert await page.run("document.documentElement.scrollWidth") <= 390

    in_browser(devtools, folder / "report #1.html", use, width=390)
