"""The page of a search in a real browser: nothing fails, nothing sticks out, on wide and small screens, light and dark."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from chromium import NEEDS_CHROMIUM, watched_page
from written_search import complete, failed, pruned, write_search

from mer_ray.reporting.search_page import write_search_page

pytestmark = NEEDS_CHROMIUM

READ = """({
  page: document.documentElement.scrollWidth, window: window.innerWidth,
  places: document.querySelectorAll("[data-figure]").length,
  drawn: [...document.querySelectorAll("[data-figure]")]
    .filter((plot) => plot.querySelector("svg .trace, svg .points, svg .parcoords")).length,
  wide: [...document.querySelectorAll("[data-figure]")].filter((plot) => plot.dataset.figure !== "parallel")
    .filter((plot) => plot.querySelector("svg").getBoundingClientRect().right > window.innerWidth).map((plot) => plot.dataset.figure),
  ink: getComputedStyle(document.body).color,
  label: getComputedStyle(document.querySelector("[data-figure=costs] .textpoint text")).fill,
  text: document.body.innerText,
})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = "model: <img src=x onerror=document.title=1> & " + "a_name_without_any_place_to_break_" * 6
    records = [
        complete(0, 0.40, ["low"], 1e-3),
        pruned(1, 0.10),
        complete(2, 0.50, ["high"], 2e-3),
        failed(3, reason),
        complete(4, 0.60, ["low", "high"], 9.9e-3, hidden=None),
        complete(5, 0.55, ["high"], 5e-3, with_clip=False),
    ]
    search = write_search(tmp_path_factory.mktemp("search"), records)
    write_search_page(search, search.page_path)
    return search.page_path


async def visit(address: str, page: Path, width: int, colours: str) -> tuple[list[str], list[str], Any]:
    async with watched_page(address, width=width, colours=colours) as opened:
        await opened.go(page)
        value = await opened.run(READ)
    # Parallel coordinates are drawn by WebGL, about whose speed a browser without a GPU complains.
    return [fault for fault in opened.faults if "WebGL" not in fault], opened.requests, value


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_all_figures_are_drawn_and_nothing_sticks_out(page: Path, devtools: str, width: int, colours: str) -> None:
    faults, requests, shown = asyncio.run(visit(devtools, page, width, colours))
    assert faults == []
    assert {address for address in requests if not address.startswith("data:")} == {page.as_uri()}
    assert shown["drawn"] == shown["places"] == 9
    assert shown["page"] <= shown["window"] == width
    assert shown["wide"] == []
    assert shown["label"] == shown["ink"]
    assert (shown["ink"] == "rgb(231, 234, 240)") == (colours == "dark")
    assert "model: <img src=x onerror=document.title=1> & " in shown["text"]
