import json
import re
from pathlib import Path
from typing import Any

import pytest
from read_page import Page
from written_run import ONE_CLIP, RunMaker

from mer_ray.core.errors import RunError
from mer_ray.reporting import ReportConfig, write_report
from mer_ray.reporting.ceilings import read_ceilings


def write(tmp_path: Path, *folders: Path, **options: Any) -> tuple[Page, str]:
    summary = write_report(ReportConfig(runs=folders, out=tmp_path / "out/report.html", **options))
    text = summary.path.read_text(encoding="utf-8")
    return Page(text), text


def test_the_page_holds_everything_and_fetches_nothing(make_run: RunMaker, tmp_path: Path) -> None:
    page, text = write(tmp_path, make_run(), make_run("audio", streams=("spectral",)))
    assert page.open == []
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert text.count("plotly.js v") == 1
    assert f"({len(text.encode()) / 1e6:.1f} MB)" in text


def test_numbers_of_the_page_stand_in_its_json(make_run: RunMaker, tmp_path: Path) -> None:
    folder = make_run()
    page, text = write(tmp_path, folder)
    scores = json.loads((folder / "scores.json").read_text())["splits"]["test"]
    data = page.json("mer-ray-data")
    assert data["summary"][0]["scores"]["weighted_f1"]["mean"] == scores["mean"]["weighted_f1"]
    assert data["runs"][0]["per_class"][2] == {"class": "happy", **scores["per_class"]["happy"]}
    assert f'<td class="n">{scores["per_class"]["happy"]["recall"]:.3f}</td>' in text


def test_every_plot_has_a_figure_and_words(make_run: RunMaker, tmp_path: Path) -> None:
    page, _ = write(tmp_path, make_run(), make_run("audio", streams=("spectral",), values=()))
    plots = [attributes for _, attributes in page.elements if "data-figure" in attributes]
    assert {plot["data-figure"] for plot in plots} == set(page.json("mer-ray-figures"))
    assert len(plots) == 1 + 6 + 4
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)


def test_anchors_lead_somewhere_and_ids_are_unique(make_run: RunMaker, tmp_path: Path) -> None:
    page, _ = write(tmp_path, make_run(), make_run("audio", streams=("spectral",)))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = {str(attributes["href"])[1:] for tag, attributes in page.elements if tag == "a"}
    assert {"runs", "run-fused", "run-audio", "clips"} <= links <= set(identifiers)


def test_tables_and_headings_can_be_heard(make_run: RunMaker, tmp_path: Path) -> None:
    page, _ = write(tmp_path, make_run(skill=0.5))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") >= 5
    assert tags.count("h1") == 1
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")


def test_names_cannot_break_out_of_the_page(make_run: RunMaker, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)<!-- & \u2028"
    folder = make_run()
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "name": evil}))
    page, text = write(tmp_path, folder, title=evil)
    assert page.open == []
    assert "<script>alert" not in text
    assert page.json("mer-ray-data")["summary"][0]["name"] == evil


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": (0,), "folds": None, "values": (), "attention": False},
        {"num_unlabelled": 30},
        {"skill": 30.0},
        {"streams": ("spectral",), "normalisation": "speaker (transductive)"},
    ],
)
def test_plain_runs_have_a_page(make_run: RunMaker, tmp_path: Path, options: dict[str, Any]) -> None:
    page, text = write(tmp_path, make_run(**options))
    assert page.open == []
    assert "How good is the run?" in text
    assert not re.search(r">\s*(nan|None|undefined)\b", text.partition("<script")[0])


def test_only_a_run_with_attention_says_which_input_it_listens_to(make_run: RunMaker, tmp_path: Path) -> None:
    _, both = write(tmp_path, make_run("hears"), make_run("deaf", attention=False))
    _, deaf = write(tmp_path, make_run("deaf_alone", attention=False))
    assert both.count("<h3>Which input does it listen to?</h3>") == 1
    assert "Which input does it listen to?" not in deaf


def test_the_headline_names_the_best_its_lead_and_the_ceiling(make_run: RunMaker, tmp_path: Path) -> None:
    ceilings = tmp_path / "corpus.json"
    ceilings.write_text('{"ceilings": {"audio": 0.7, "vision": 0.6, "text": 0.8, "fused": 0.99}}')
    _, text = write(tmp_path, make_run("fused", skill=3.0), make_run("audio", streams=("spectral",), skill=0.5), ceilings=ceilings)
    assert "fused is best: weighted F1" in text
    assert "more than chance, as far as the clips are independent" in text
    assert "Clips of one speaker are not independent" in text
    assert "the best possible score on this corpus, 0.990" in text


def test_runs_on_different_clips_have_no_best(make_run: RunMaker, tmp_path: Path) -> None:
    page, text = write(tmp_path, make_run("fused", skill=3.0), make_run("audio", **ONE_CLIP))
    assert page.open == []
    assert "Which run is best?" not in text and 'class="best"' not in text
    assert '<p class="lead">The runs were scored on different clips' in text
    assert "<small>1 test clip</small>" in text
    assert (
        "on different clips, best first"
        in write_report(ReportConfig(runs=(tmp_path / "fused", tmp_path / "audio"), out=tmp_path / "r.html")).tables()[0].title
    )


def test_signs_between_the_words_of_a_clip_have_room(make_run: RunMaker, tmp_path: Path) -> None:
    _, text = write(tmp_path, make_run())
    (shown,) = re.findall(r"\.shown:not\(:only-child\)::after \{ content: \"(.*?)\"", text)
    assert shown == " · the bars below are its probabilities"


def test_a_run_given_twice_is_refused(make_run: RunMaker, tmp_path: Path) -> None:
    folder = make_run()
    with pytest.raises(RunError, match="more than once"):
        write(tmp_path, folder, folder / ".." / folder.name)


@pytest.mark.parametrize("text", ["{", "{}", '{"ceilings": {"audio": "high"}}', '{"ceilings": 1}', "[]"])
def test_ceilings_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(RunError, match=r"corpus\.json: needs"):
        read_ceilings(tmp_path / "corpus.json")


def test_no_ceilings_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file of ceilings"):
        read_ceilings(tmp_path / "corpus.json")
