import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from media_factory import numbered_images, tone, write_media, write_wave
from written_run import CLASSES, RunMaker

from mer_ray.core.errors import RunError
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Clip
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.reporting.clip_media import INDEX, copy_clips

Write = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    write_media(folder / "clip.mp4", numbered_images(5), tone(0.2))
    write_wave(folder / "clip.wav", (tone(0.2).T * 32767).astype(np.int16))
    return folder


@pytest.fixture
def write(make_run: RunMaker, tmp_path: Path, media: Path) -> Write:
    """Write a report of a run of four clips: video, sound alone, a file that is gone, text alone."""
    paths = ["clip.mp4", "clip.wav", "gone.mp4", None]
    rows = [{"clip_id": f"clip_{clip:03d}", "path": paths[clip], "text": f"<i>{clip}</i>"} for clip in range(4)]
    table = pa.Table.from_pylist([dict.fromkeys(MANIFEST_SCHEMA.names) | row for row in rows], MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("synthetic", CLASSES, str(media))), tmp_path / "m.parquet")
    run = make_run(num_clips=8, skill=0.3, folds=None, values=(), config={"manifest": str(tmp_path / "m.parquet")})

    def write_it(**options: Any) -> tuple[dict[str, Any], str]:
        summary = write_report(ReportConfig(runs=(run,), out=tmp_path / "out/my report.html", **options))
        text = summary.path.read_text(encoding="utf-8")
        data = json.loads(text.partition('id="mer-ray-data">')[2].partition("</script>")[0])
        cards = data["clips"]["cards"] if data["clips"] else []
        return {card["clip_id"]: card for card in cards}, text

    return write_it


def test_cards_have_copies_or_say_why_not(write: Write, tmp_path: Path) -> None:
    cards, text = write()
    video, sound = cards["clip_000"]["media"], cards["clip_001"]["media"]
    assert video["src"] == f"my%20report_media/{cards['clip_000']['slug']}.mp4"
    assert (video["width"], video["height"], video["is_cut"]) == (64, 48, False)
    assert sound["src"].endswith(".m4a")
    assert sound["still"] is None
    folder = tmp_path / "out/my report_media"
    assert sorted(file.suffix for file in folder.iterdir()) == [".jpg", ".json", ".m4a", ".mp4"]
    assert "gone.mp4: no such file" in cards["clip_002"]["note"]
    assert cards["clip_003"]["note"] == "This clip has no sound and no pictures."
    assert cards["clip_004"]["note"] == "No manifest of these runs has this clip."
    assert "&lt;i&gt;0&lt;/i&gt;" in text
    assert f'poster="{video["still"]}"' in text
    assert "lie in the folder <code>my report_media</code>" in text


def test_mistakes_lead_to_their_cards(write: Write) -> None:
    cards, text = write(max_mistakes=8)
    wrong = [card for card in cards.values() if "wrong" in card["verdicts"][0]["ranks"]]
    assert wrong
    for card in wrong:
        assert f'<a href="#{card["slug"]}">{card["clip_id"]}</a>' in text
        assert f'id="{card["slug"]}"' in text


def test_without_media_there_is_no_section_and_no_folder(write: Write, tmp_path: Path) -> None:
    write()
    assert (tmp_path / "out/my report_media").is_dir()
    cards, text = write(media="none")
    assert cards == {}
    assert 'id="clips"' not in text
    assert not (tmp_path / "out/my report_media").exists()


@pytest.mark.parametrize(("config", "why"), [({}, "names no manifest"), ({"manifest": "gone.parquet"}, "no such manifest")])
def test_without_a_manifest_cards_say_why(make_run: RunMaker, tmp_path: Path, config: dict[str, Any], why: str) -> None:
    write_report(ReportConfig(runs=(make_run(config=config),), out=tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"The clips of synthetic cannot be played: {'the run' if why.startswith('names') else 'gone'}" in text
    assert why in text
    assert 'class="choice' in text
    assert not (tmp_path / "report_media").exists()


def test_copies_stay_until_their_source_changes(media: Path, tmp_path: Path) -> None:
    clips = {"a": Clip("a", str(media / "clip.mp4")), "b": Clip("b", str(media / "clip.wav"))}
    folder = tmp_path / "copies"

    def times() -> dict[str, int]:
        copy_clips(clips, folder)
        return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}

    first = times()
    assert set(first) == {"a.mp4", "a.jpg", "b.m4a", INDEX}
    assert times() == first
    os.utime(media / "clip.wav", (1, 1))
    second = times()
    assert {name for name in first if second[name] != first[name]} == {"b.m4a", INDEX}
    (folder / "a.jpg").unlink()
    assert "a.jpg" in times()
    clips["b"] = Clip("b", str(media / "clip.mp4"), start_s=0.05)
    assert set(times()) == {"a.mp4", "a.jpg", "b.mp4", "b.jpg", INDEX}


def test_only_own_leftovers_are_removed(media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    clip = Clip("a", str(media / "clip.wav"))
    copy_clips({"a": clip, "b": clip}, folder)
    (folder / "b.txt").write_text("mine")
    (folder / "c.m4a").write_bytes(b"mine")
    copy_clips({"a": clip}, folder)
    assert sorted(file.name for file in folder.iterdir()) == ["a.m4a", "b.txt", "c.m4a", INDEX]
    copy_clips({}, folder)
    assert sorted(file.name for file in folder.iterdir()) == ["b.txt", "c.m4a"]


def test_copies_of_a_killed_report_are_known(media: Path, tmp_path: Path) -> None:
    clip = Clip("a", str(media / "clip.wav"))
    copy_clips({"a": clip}, tmp_path / "copies")
    index = json.loads((tmp_path / "copies" / INDEX).read_text())
    assert index["a"]["preview"]["file"] == "a.m4a"
    (tmp_path / "copies" / INDEX).write_text(json.dumps({"a": index["a"], "b": {"source": "", "preview": None}}))
    (tmp_path / "copies/b.mp4").write_bytes(b"half a report")
    copy_clips({"a": clip}, tmp_path / "copies")
    assert sorted(file.name for file in (tmp_path / "copies").iterdir()) == ["a.m4a", INDEX]


@pytest.mark.parametrize("index", ["{", "[]", '{"../a": {"source": "", "preview": null}}'])
def test_an_index_that_is_not_ours_removes_nothing(media: Path, tmp_path: Path, index: str) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    (tmp_path / "a.mp4").write_bytes(b"mine")
    (folder / INDEX).write_text(index)
    copies, faults = copy_clips({"b": Clip("b", str(media / "clip.wav"))}, folder)
    assert (tmp_path / "a.mp4").exists()
    assert list(copies) == ["b"]
    assert faults == {}


def test_a_file_in_the_place_of_the_folder_is_refused(media: Path, tmp_path: Path) -> None:
    (tmp_path / "copies").write_text("mine")
    with pytest.raises(RunError, match="--media none"):
        copy_clips({"a": Clip("a", str(media / "clip.wav"))}, tmp_path / "copies")
