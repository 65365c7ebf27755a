import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics
from written_run import CLASSES, RunMaker

from mer_ray.core.errors import RunError
from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.reporting.runs import read_run
from mer_ray.reporting.tables import build_tables


def tables_of(*folders: Path, metric: str = "weighted_f1", split: str | None = None, **ceilings: float) -> dict[str, Any]:
    runs = [read_run(folder) for folder in folders]
    return build_tables(runs, metric=metric, split=split, ceilings=ceilings, max_mistakes=20, max_uncertain=10)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "predictions/test.parquet").to_pylist()
    return rows


def test_runs_are_ordered_best_first_and_details_follow(make_run: RunMaker) -> None:
    tables = tables_of(make_run("weak", skill=0.5), make_run("strong", skill=3.0), make_run("middling", skill=1.5))
    assert [row["name"] for row in tables["summary"]] == ["strong", "middling", "weak"]
    assert [run["name"] for run in tables["runs"]] == ["strong", "middling", "weak"]


def test_an_error_metric_is_best_low(make_run: RunMaker) -> None:
    summary = tables_of(make_run("a"), make_run("b"), metric="valence_mse")["summary"]
    assert summary[0]["scores"]["valence_mse"]["mean"] < summary[1]["scores"]["valence_mse"]["mean"]
    assert summary[1]["behind"]["mean"] > 0


def test_attention_is_the_mean_over_complete_clips_of_a_class(make_run: RunMaker) -> None:
    folder = make_run()
    attention = tables_of(folder)["runs"][0]["attention"]
    assert attention["modalities"] == ["audio", "vision", "text"]
    rows = [row for row in rows_of(folder) if row["label_emotion"] == "happy" and row["attention_spectral"] is not None]
    happy = next(row for row in attention["rows"] if row["class"] == "happy")
    assert happy["num_clips"] == len({row["clip_id"] for row in rows})
    assert happy["weights"] == pytest.approx([np.mean([row[f"attention_{name}"] for row in rows]) for name in attention["names"]])
    assert sum(happy["weights"]) == pytest.approx(1)


def test_worst_mistakes_are_the_surest_wrong_clips(make_run: RunMaker) -> None:
    folder = make_run(skill=0.7)
    mistakes = tables_of(folder)["runs"][0]["mistakes"]
    by_clip: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(folder):
        by_clip.setdefault(row["clip_id"], []).append(row)
    wrong = {}
    for clip_id, rows in by_clip.items():
        mean = np.mean([[row[f"prob_{name}"] for name in CLASSES] for row in rows], axis=0)
        if CLASSES[mean.argmax()] != rows[0]["label_emotion"]:
            wrong[clip_id] = mean
    assert mistakes["num_wrong"] == len(wrong) > 20
    assert [row["clip_id"] for row in mistakes["rows"]] == sorted(wrong, key=lambda clip_id: -wrong[clip_id].max())[:20]
    assert mistakes["rows"][0]["probabilities"] == pytest.approx(wrong[mistakes["rows"][0]["clip_id"]])


def test_confusion_in_percent_of_the_row(make_run: RunMaker) -> None:
    folder = make_run(skill=1.0)
    confusion = tables_of(folder)["runs"][0]["confusion"]
    rows = rows_of(folder)
    labels, guesses = [row["label_emotion"] for row in rows], [row["emotion"] for row in rows]
    expected = 100 * metrics.confusion_matrix(labels, guesses, labels=CLASSES, normalize="true")
    assert confusion["row_percent"] == pytest.approx(expected)


def test_value_points_are_means_over_seeds(make_run: RunMaker) -> None:
    folder = make_run(num_unlabelled=5)
    (points,) = tables_of(folder)["runs"][0]["values"]
    assert points["num_clips"] == len(points["labels"]) == 55
    rows = [row for row in rows_of(folder) if row["clip_id"] == points["clip_ids"][0]]
    assert points["predictions"][0] == pytest.approx(np.mean([row["valence"] for row in rows]))
    assert points["labels"][0] == pytest.approx(rows[0]["label_valence"])
    assert set(points["scores"]) == {"valence_mse"}


def test_distance_to_the_best_is_paired(make_run: RunMaker) -> None:
    summary = tables_of(make_run("strong", skill=3.0), make_run("weak", skill=0.5))["summary"]
    best, weak = (row["scores"]["weighted_f1"]["mean"] for row in summary)
    behind = summary[1]["behind"]
    assert summary[0]["behind"] is None
    assert behind["mean"] == pytest.approx(weak - best)
    assert behind["low"] < behind["mean"] < behind["high"] < 0


def test_a_copy_of_the_best_run_is_not_behind_it(make_run: RunMaker, tmp_path: Path) -> None:
    first = make_run("one")
    (tmp_path / "copies").mkdir()
    copy = first.rename(tmp_path / "copies/one")
    behind = tables_of(copy, make_run("one"))["summary"][1]["behind"]
    assert (behind["mean"], behind["low"], behind["high"]) == (0, 0, 0)


def test_different_clips_are_not_paired_and_remarked(make_run: RunMaker) -> None:
    tables = tables_of(make_run("many", num_clips=80), make_run("few", num_clips=60))
    assert tables["summary"][1]["behind"] is None
    assert [row["same_clips"] for row in tables["summary"]] == [True, False]
    assert tables["headline"][0].startswith("The runs were scored on different clips")
    assert not any("is best" in sentence or "lead" in sentence for sentence in tables["headline"])
    assert "scored on different clips" in tables["remarks"][0]


def test_as_many_clips_are_not_the_same_clips(make_run: RunMaker) -> None:
    one, two = make_run("one"), make_run("two")
    path = two / "predictions/test.parquet"
    table = pq.read_table(path)
    renamed = pa.array([f"other_{name}" for name in table["clip_id"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("clip_id"), table.schema.field("clip_id"), renamed), path)
    tables = tables_of(one, two)
    assert "scored on different clips" in tables["remarks"][0]
    assert tables["headline"][0].startswith("The runs were scored on different clips")


def test_the_lead_is_that_on_the_next_of_the_same_clips(make_run: RunMaker) -> None:
    tables = tables_of(make_run("first", skill=9.0), make_run("few", num_clips=50, skill=4.0), make_run("third", skill=0.5))
    assert [row["name"] for row in tables["summary"]] == ["first", "few", "third"]
    _, place, lead = tables["headline"]
    assert place.startswith("The highest figure is that of first: weighted F1 1.000") and place.endswith("on 60 test clips of synthetic.")
    assert lead.startswith("Its lead on the next of these clips, third, is 0.")


def test_speaker_statistics_are_called_transductive(make_run: RunMaker) -> None:
    tables = tables_of(make_run("own", normalisation="speaker (transductive)"), make_run("strict"))
    assert {row["name"]: row["transductive"] for row in tables["summary"]} == {"own": True, "strict": False}
    assert any("own: transductive" in remark for remark in tables["remarks"])


def test_runs_of_one_name_get_their_own_anchor(make_run: RunMaker, tmp_path: Path) -> None:
    first = make_run("Ä b")
    folders = [first.rename(tmp_path / "other"), make_run("Ä b")]
    slugs = [row["slug"] for row in tables_of(*folders)["summary"]]
    assert slugs == ["run-b", "run-b--2"]


def test_ceilings_belong_to_single_modalities_and_to_all(make_run: RunMaker) -> None:
    folders = [make_run("three"), make_run("one", streams=("gradient",)), make_run("two", streams=("gradient", "hashing"))]
    summary = tables_of(*folders, audio=0.7, vision=0.6, text=0.8, fused=0.9)["summary"]
    assert {row["name"]: row["ceiling"] for row in summary} == {"three": 0.9, "one": 0.6, "two": None}


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": (0,)},
        {"folds": None},
        {"values": ()},
        {"attention": False},
        {"num_unlabelled": 20},
        {"streams": ("spectral",)},
        {"seeds": (4,), "folds": None, "values": (), "attention": False, "num_unlabelled": 59},
    ],
)
def test_plain_runs_have_plain_tables(make_run: RunMaker, options: dict[str, Any]) -> None:
    tables = tables_of(make_run(**options))
    row, run = tables["summary"][0], tables["runs"][0]
    assert json.loads(json.dumps(tables, allow_nan=False))["summary"][0]["name"] == "fused"
    assert (row["scores"]["weighted_f1"]["std"] is None) == (len(options.get("seeds", (0, 1, 2))) == 1)
    assert (run["attention"] is None) == (options.get("attention") is False or options.get("streams") == ("spectral",))
    assert len(run["values"]) == len(options.get("values", ("valence",)))


def test_unknown_split_and_metric_are_refused(make_run: RunMaker) -> None:
    folder = make_run()
    with pytest.raises(RunError, match="scores no split 'dev'; it has test"):
        tables_of(folder, split="dev")
    with pytest.raises(RunError, match="has no metric 'f2' on split test; it has weighted_f1"):
        tables_of(folder, metric="f2")


def test_sentences_come_from_the_manifest(make_run: RunMaker, tmp_path: Path) -> None:
    rows = [{"clip_id": f"clip_{clip:03d}", "text": f"sentence {clip}"} for clip in range(60)]
    table = pa.Table.from_pylist([dict.fromkeys(MANIFEST_SCHEMA.names) | row for row in rows], MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("synthetic", CLASSES, "/")), tmp_path / "m.parquet")
    run = tables_of(make_run(skill=0.5, config={"manifest": str(tmp_path / "m.parquet")}))["runs"][0]
    assert run["texts_note"] is None
    for row in run["mistakes"]["rows"]:
        assert row["text"] == f"sentence {int(row['clip_id'].removeprefix('clip_'))}"


def test_a_lost_manifest_is_said(make_run: RunMaker, tmp_path: Path) -> None:
    run = tables_of(make_run(config={"manifest": str(tmp_path / "gone.parquet")}))["runs"][0]
    assert "no such manifest" in run["texts_note"]
