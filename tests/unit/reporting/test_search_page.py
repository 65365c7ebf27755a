import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from read_page import Page
from written_search import COSTS, complete, failed, pruned, search_facts, write_search

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.reporting import ReportConfig
from mer_ray.reporting.search_page import build_search_tables, write_search_page
from mer_ray.reporting.search_report import is_search, search_page_path, write_search_report
from mer_ray.reporting.search_trials import order_trials
from mer_ray.reporting.search_values import is_layer, parameter_title
from mer_ray.tuning.records import TrialRecord

SEARCH = (
    complete(0, 0.40, ["low"], 1e-3),
    pruned(1, 0.10),
    complete(2, 0.50, ["high"], 2e-3),
    failed(3, "model: <script>alert(1)</script> & more"),
    complete(4, 0.60, ["low", "high"], 9.9e-3, hidden=None),
    failed(5, "model: <script>alert(1)</script> & more"),
    failed(6, "out of memory: 3 GiB"),
    complete(7, 0.55, ["high"], 5e-3, with_clip=False),
    complete(8, 0.30, ["low"], 2e-4, with_clip=False),
)


def tables_of(records: Sequence[TrialRecord], **changes: Any) -> dict[str, Any]:
    facts = search_facts(records, **changes)
    return build_search_tables(facts, order_trials(records, facts["objectives"]))


def write_page(folder: Path, records: Sequence[TrialRecord], **changes: Any) -> tuple[Page, str]:
    search = write_search(folder, records, **changes)
    write_search_page(search, search.page_path)
    text = search.page_path.read_text(encoding="utf-8")
    return Page(text), text


def traces(page: Page, name: str) -> dict[str, Any]:
    """The named traces of a figure."""
    return {trace["name"]: trace for trace in page.json("mer-ray-figures")[name]["data"] if "name" in trace}


def test_every_figure_has_its_numbers_and_stands_in_the_page(tmp_path: Path) -> None:
    page, _ = write_page(tmp_path, SEARCH)
    assert page.open == []
    figures = page.json("mer-ray-figures")
    places = [attributes["data-figure"] for _, attributes in page.elements if "data-figure" in attributes]
    slices = ["slice-0", "slice-1", "slice-2"]
    assert sorted(places) == sorted(figures) == sorted(["history", "curves", "importances", "layers-0", *slices, "parallel", "costs"])
    history = traces(page, "history")
    assert history["complete"]["x"] == [0, 2, 4, 7, 8] and history["complete"]["y"] == [0.4, 0.5, 0.6, 0.55, 0.3]
    assert history["pruned"]["x"] == [1] and history["pruned"]["y"] == [0.1]
    assert history["best"]["y"] == [0.4, 0.4, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6]
    curves = traces(page, "curves")
    assert curves["pruned"]["y"] == [0.1, None] and curves["best"]["y"] == [0.5, 0.6, None]
    assert [step for step in curves["complete"]["x"] if step is not None] == [1, 2] * 4
    assert figures["importances"]["data"][0]["x"] == [0.7, 0.2, 0.1, 0.0]
    assert figures["importances"]["layout"]["yaxis"]["ticktext"] == ["learning_rate", "hubert high", "model", "hubert low"]
    layers = traces(page, "layers-0")
    assert layers["with"]["x"] == pytest.approx([(0.4 + 0.6 + 0.3) / 3, (0.5 + 0.6 + 0.55) / 3])
    assert layers["without"]["x"] == pytest.approx([(0.5 + 0.55) / 2, (0.4 + 0.3) / 2])
    assert figures["layers-0"]["layout"]["yaxis"]["ticktext"] == ["low · 1 of 3", "high · 3 of 3"]
    assert figures["slice-0"]["layout"]["xaxis"]["type"] == "log"
    assert [dot for trace in figures["slice-0"]["data"] for dot in trace["x"]] == [5e-3, 2e-3, 1e-3, 2e-4, 9.9e-3]
    costs = traces(page, "costs")
    assert {name: (trace["x"], trace["y"]) for name, trace in costs.items()} == {
        "clip + hubert": ([16.0], [0.6]),
        "hubert": ([4.0], [0.55]),
    }


def test_parallel_axes_hold_places_of_all_kinds_and_what_was_not_drawn(tmp_path: Path) -> None:
    page, _ = write_page(tmp_path, SEARCH)
    drawn = page.json("mer-ray-figures")["parallel"]["data"][0]
    axes = {axis["label"].replace("<br>", " "): axis for axis in drawn["dimensions"]}
    assert list(axes) == ["learning_rate", "hubert high", "model", "model.attention. hidden", "hubert low", "weighted F1"]
    # Best first: trials 4, 7, 2, 0, 8.
    assert axes["weighted F1"]["values"] == drawn["line"]["color"] == [0.6, 0.55, 0.5, 0.4, 0.3]
    assert axes["model"]["values"] == [1, 0, 0, 0, 0]
    assert axes["hubert high"]["values"] == [1, 1, 1, 0, 0] and axes["hubert high"]["ticktext"] == ["no", "yes"]
    assert axes["learning_rate"]["values"][3] == pytest.approx(-3)
    assert axes["learning_rate"]["tickvals"] == pytest.approx([-4, -3.5, -3, -2.5, -2])
    assert axes["model.attention. hidden"]["values"][0] == axes["model.attention. hidden"]["tickvals"][0] < 16
    assert axes["model.attention. hidden"]["ticktext"] == ["not drawn", "16", "28", "40", "52", "64"]


def test_answers_are_computed_from_the_trials() -> None:
    tables = tables_of(SEARCH)
    assert tables["headline"] == [
        "Of 5 complete trials, the 2 most promising were trained with 3 seeds; trial 4 is the best of them: weighted F1 0.580 on "
        "development data, 0.600 in the search.",
        "With 3 seeds it reaches 0.550 (95 % interval 0.500 to 0.600) on test, which no trial has seen: 0.050 worse than in the search, "
        "within the interval.",
        "The first known setting reaches 0.450 there; the best is 0.100 better (difference 0.040 to 0.160, p 0.002): more than chance.",
    ]
    assert tables["course"] == "9 trials (5 complete, 1 pruned, 3 failed) in 60 s. It ended: all trials that were asked for are done."
    assert tables["history"]["answer"] == "No: the last 4 of 9 trials found nothing better than trial 4."
    assert tables["curves"]["answer"] == "1 trial of 9: 1 after step 1. That spared 8% of all steps."
    assert tables["importances"]["answer"].startswith(
        "Most: learning_rate, which explains 70% of the differences between complete trials; "
    )
    assert tables["importances"]["answer"].endswith("then hubert high with 20%. Take it as a hint: only 5 trials are complete.")
    assert tables["importances"]["unjudged"] == ["model.attention.hidden"]
    assert tables["importances"]["num_unjudged_layers"] == 0
    assert [(row["encoders"], row["is_front"]) for row in tables["costs"]["rows"]] == [(["clip", "hubert"], True), (["hubert"], True)]
    (hubert,) = tables["layers"]
    assert hubert["answer"] == (
        "high is in 3 of the best 3 trials; with it complete trials are on average 0.200 better (3 with it, 2 without)."
    )
    answers = {one["name"]: one["answer"] for one in tables["slices"]}
    assert answers["learning_rate"] == (
        "The best 3 lie from 0.002 to 0.0099 (searched from 0.0001 to 0.01). The best lies at the upper end: beyond it may be better."
    )
    assert answers["model"] == "<b>early</b>: its best trial has 0.600, that of attention 0.550."
    assert (
        tables["costs"]["answer"]
        == "The best set takes 16.0 ms of a GPU per clip. hubert takes 25% of that, and its best trial is 0.050 worse."
    )
    assert [(row["reason"], row["numbers"]) for row in tables["failures"]] == [
        ("model: <script>alert(1)</script> & more", [3, 5]),
        ("out of memory: 3 GiB", [6]),
    ]
    assert [row["number"] for row in tables["best"]] == [4, 7, 2, 0, 8]


def test_texts_are_escaped(tmp_path: Path) -> None:
    page, text = write_page(tmp_path, SEARCH)
    assert "<script>alert" not in text
    assert "model: &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text
    assert "Search night &lt;1&gt;" in text
    assert "<b>early" not in text
    assert page.json("mer-ray-data")["failures"][0]["reason"] == "model: <script>alert(1)</script> & more"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_starts": 0, "start": None}, "No known setting was given to compare it with (`starts`)."),
        ({"start": None}, "It is the first known setting itself: the search found nothing better."),
        (
            {"start": {"final": {"mean": 0.54}, "gain": {"mean": 0.01, "interval": [-0.02, 0.04], "p_value": 0.6}}},
            "The first known setting reaches 0.540 there; the best is 0.010 better (difference −0.020 to 0.040, p 0.600): "
            "that may be chance.",
        ),
        (
            {"start": {"final": {"mean": 0.56}, "gain": {"mean": -0.01, "interval": None, "p_value": 0.5}}},
            "The first known setting reaches 0.560 there; the best is 0.010 worse; whether that is chance is unknown.",
        ),
    ],
)
def test_the_gain_is_called_what_it_is(changes: dict[str, Any], expected: str) -> None:
    assert tables_of(SEARCH, **changes)["headline"][-1] == expected


def test_a_known_setting_that_failed_is_not_called_the_best() -> None:
    failing = [failed(0, "the loss is nan"), complete(1, 0.5)]
    # Killed while it ran, the first setting was tried again as trial 3.
    again = [complete(2, 0.5), replace(complete(3, 0.6), stands_for=0)]

    assert tables_of(failing, start=None)["headline"][-1] == (
        "The first known setting failed, so there is nothing to compare it with: the loss is nan."
    )
    assert tables_of(again, start=None)["headline"][-1] == "It is the first known setting itself: the search found nothing better."
    assert tables_of(again[:1], start=None)["headline"][-1].startswith("The first known setting was not tried to its end")


def test_a_folder_keeps_which_trial_stands_for_another(tmp_path: Path) -> None:
    folder = write_search(tmp_path, [replace(complete(3, 0.6), stands_for=0)])

    assert [record.stands_for for record in folder.read_trials()] == [0]


@pytest.mark.parametrize(("text", "message"), [("[]", "lacks 'name'"), ('{"name": "x"}', "lacks 'objectives'"), ("{", "not valid JSON")])
def test_facts_of_something_else_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    folder = write_search(tmp_path, SEARCH)
    folder.facts_path.write_text(text)

    with pytest.raises(RunError, match=message):
        folder.read_facts()


def test_layers_with_dots_in_their_names_are_layers() -> None:
    assert is_layer("inputs.resnet.layers.blocks.3.norm", {"options": [False, True]})
    assert parameter_title("inputs.resnet.layers.blocks.3.norm") == "resnet blocks.3.norm"


def test_a_search_that_still_rose_says_so() -> None:
    records = [*(complete(number, 0.3) for number in range(7)), complete(7, 0.45)]
    answer = tables_of(records)["history"]["answer"]
    assert answer == "Yes: the best, trial 7, came among the last 2 of 8, 0.150 better than all of the first 6. More may find more."


def test_low_errors_are_the_best() -> None:
    mse = {"valence_mse": "minimize"}
    records = [TrialRecord(number, "complete", {"learning_rate": 1e-3}, {"valence_mse": value}) for number, value in ((0, 0.9), (1, 0.4))]
    gain = {"mean": -0.2, "interval": [-0.3, -0.1], "p_value": 0.0002}
    facts = search_facts(SEARCH, objectives=mse, encoders={}, start={"final": {"mean": 0.7}, "gain": gain})
    facts["final"] |= {"mean": 0.5, "interval": [0.45, 0.6]}
    facts["best"] |= {"number": 1, "values": records[1].values}
    tables = build_search_tables(facts, order_trials(records, mse))
    assert tables["headline"][1].endswith("0.100 worse than in the search.")
    assert tables["headline"][2].endswith("the best is 0.200 better (difference 0.100 to 0.300, p below 0.001): more than chance.")
    assert [row["number"] for row in tables["best"]] == [1, 0]


def test_several_objectives_have_a_front_and_no_curves(tmp_path: Path) -> None:
    records = [
        complete(0, 0.60, milliseconds_per_clip=9.0),
        complete(1, 0.50, milliseconds_per_clip=2.0),
        complete(2, 0.45, milliseconds_per_clip=5.0),
    ]
    page, _ = write_page(tmp_path, records, objectives={"weighted_f1": "maximize", "milliseconds_per_clip": "minimize"})
    assert "curves" not in page.json("mer-ray-figures")
    front = traces(page, "pareto")["front"]
    assert (front["x"], front["y"], front["text"]) == ([2.0, 9.0], [0.5, 0.6], ["1", "0"])
    assert traces(page, "pareto")["beaten"]["x"] == [5.0]
    assert page.json("mer-ray-data")["pareto"]["answer"] == (
        "2 of 3 complete trials are beaten by no other one in all objectives; from trial 0 (weighted F1 0.6, milliseconds per clip 9) "
        "to trial 1 (weighted F1 0.5, milliseconds per clip 2)."
    )


def test_a_single_complete_trial_is_no_comparison(tmp_path: Path) -> None:
    page, text = write_page(tmp_path, [complete(0, 0.6)], importances={}, start=None)
    assert page.open == []
    assert set(page.json("mer-ray-figures")) == {"history", "curves", "slice-0", "slice-1", "slice-2", "costs"}
    assert "Trial 0 is the only complete trial" in text
    assert "One trial is complete, so there is nothing to compare." in text
    assert "Not known from one trial." in text


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    facts = search_facts(SEARCH)
    facts["encoders"]["clip"]["cost"] = None
    page, text = write_page(tmp_path, SEARCH, encoders=facts["encoders"])
    assert "costs" not in page.json("mer-ray-figures")
    assert "Not known of clip: features from an extraction that measured no time, or from elsewhere." in text
    facts["encoders"]["clip"]["cost"] = COSTS["clip"] | {"device": "cpu"}
    assert tables_of(SEARCH, encoders=facts["encoders"])["costs"]["answer"].startswith("Not comparable")


def test_a_report_of_a_search_lies_in_its_folder_or_where_it_is_told(tmp_path: Path) -> None:
    write_search(tmp_path / "search", SEARCH)
    inside, elsewhere = ReportConfig(runs=[tmp_path / "search"]), ReportConfig(runs=[tmp_path / "search"], out=tmp_path / "page.html")
    assert is_search(inside) and search_page_path(inside) == tmp_path / "search/report.html"
    summary = write_search_report(elsewhere)
    assert (tmp_path / "page.html").is_file() and not (tmp_path / "search/report.html").exists()
    assert summary.facts["best"]["number"] == 4


def test_what_a_search_has_no_use_for_is_refused(tmp_path: Path) -> None:
    search = write_search(tmp_path / "search", SEARCH).root
    with pytest.raises(ConfigError, match=r"^metric, table: .* is a search"):
        write_search_report(ReportConfig(runs=[search], metric="uar", table="md"))
    with pytest.raises(ConfigError, match="report it alone"):
        write_search_report(ReportConfig(runs=[search, tmp_path / "run"]))
    (search / "search.json").unlink()
    unfinished = ReportConfig(runs=[search])
    assert is_search(unfinished)
    with pytest.raises(RunError, match="the search is not complete: go on with"):
        write_search_report(unfinished)


def test_trials_come_back_as_they_were_written(tmp_path: Path) -> None:
    search = write_search(tmp_path, SEARCH)
    assert search.read_trials() == list(SEARCH)
    pq.write_table(pa.table({"number": [1]}), search.trials_path)
    with pytest.raises(RunError, match=r"trials\.parquet: not a table of trials of this version \(columns number\)"):
        search.read_trials()
    search.trials_path.unlink()
    with pytest.raises(RunError, match=r"trials\.parquet: cannot be read"):
        search.read_trials()
    assert json.loads(search.facts_path.read_text())["name"] == "night <1>"
