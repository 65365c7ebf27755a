"""Robustness from a store alone: modalities are taken away, clips are judged by models that did not train on them."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from rich.console import Console
from sklearn import metrics

from mer_ray.core.errors import ConfigError, PredictionError, RunError
from mer_ray.core.manifest import Manifest, read_manifest, write_manifest
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.robustness import evaluate_robustness, plan_robustness
from mer_ray.reporting.robustness_page import render_robustness


def config_of(corpus, bundle, tmp_path, noise=(), **given) -> EvaluateConfig:
    degraded = {"bundle": bundle, "store": str(corpus.folder / "store"), "snr_db": [], "blur": [], "device": "cpu"} | dict(noise)
    base = {"labels": corpus.folder / "manifest.parquet", "protocol": "emotion", "out": tmp_path / "r.json"}
    return EvaluateConfig.model_validate(base | {"num_resamples": 50, "num_swaps": 99, "noise": degraded} | given)


def test_each_clip_is_judged_by_the_models_that_held_it_out(corpus, folds_bundle, tmp_path):
    summary = evaluate_robustness(config_of(corpus, folds_bundle, tmp_path))
    rows = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert [row["condition"] for row in rows] == [name for name in ("clean", "without audio", "without vision") for _ in corpus.rows]
    own = pq.read_table(folds_bundle.parent / "predictions" / "test.parquet").to_pylist()
    clean = {row["clip_id"]: row for row in rows if row["condition"] == "clean"}
    temperature = json.loads((folds_bundle / "bundle.json").read_text())["groups"][0]["temperature"]
    for clip_id, row in clean.items():
        logits = np.log([one["prob_happy"] / one["prob_angry"] for one in own if one["clip_id"] == clip_id]) / temperature
        assert row["note"] is None and row["snr_db"] is None
        assert len(logits) == 2 and min(logits) - 1e-3 <= np.log(row["prob_happy"] / row["prob_angry"]) <= max(logits) + 1e-3
    labels = {row["clip_id"]: row["emotion"] for row in corpus.rows}
    for one in summary.facts["conditions"]:
        said = {row["clip_id"]: row["emotion"] for row in rows if row["condition"] == one["condition"]}
        expected = metrics.f1_score(list(labels.values()), [said[clip_id] for clip_id in labels], average="weighted")
        assert one["official"] == pytest.approx(expected) and one["facts"] == {}
    first, *others = summary.facts["conditions"]
    assert first["difference"] is None and summary.facts["num_held_out"] == 48
    for one in others:
        assert one["difference"]["difference"] == pytest.approx(one["official"] - first["official"])
        assert one["difference"]["p_holm"] >= one["difference"]["p_value"] > 0
    assert json.loads((tmp_path / "r.json").read_text()) == summary.facts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.parquet"], "the work folder is gone"


def test_what_is_taken_away_is_not_used(corpus, folds_bundle, tmp_path):
    table = evaluate_robustness(config_of(corpus, folds_bundle, tmp_path, {"without": ["vision"]})).table
    used = {row["condition"]: set() for row in table.to_pylist()}
    for row in table.to_pylist():
        used[row["condition"]].add(row["used"])
    assert used == {"clean": {"audio", "audio+vision"}, "without vision": {"audio"}}


def test_a_model_of_a_split_is_scored_on_other_splits_only(corpus, splits_bundle, tmp_path):
    test = evaluate_robustness(config_of(corpus, splits_bundle, tmp_path, split="test")).facts
    assert (test["num_labelled"], test["num_held_out"], test["split"]) == (12, 0, "test")
    with pytest.raises(RunError) as caught:
        evaluate_robustness(config_of(corpus, splits_bundle, tmp_path))
    assert "24 clips of 48 were trained or decided on by every model" in str(caught.value) and "\n" not in str(caught.value)
    assert "choose a split that the run did not learn from (--split)" in str(caught.value) and "protocol.name=folds" in str(caught.value)


def test_tables_and_page_show_every_condition(corpus, folds_bundle, tmp_path):
    summary = evaluate_robustness(config_of(corpus, folds_bundle, tmp_path))
    stream = io.StringIO()
    for table in summary.tables():
        table.show(Console(file=stream, width=200))
    page = render_robustness(summary.facts)
    for text in (stream.getvalue(), page):
        assert "without audio" in text and f"{summary.facts['conditions'][1]['official']:.3f}" in text
        assert "48 clips were in the training of some models" in text
    assert "<title>Robustness of folds</title>" in page and "Blur:" not in page and "Noise:" not in page and "green: words" not in page
    num_seen = sum("vision" in row["used"] for row in summary.table.to_pylist() if row["condition"] == "clean")
    assert [one["num_affected"] for one in summary.facts["conditions"]] == [None, 48, num_seen] and f"{num_seen} of 48" in page
    clean, heard, seen = summary.facts["conditions"]
    worse = render_robustness({**summary.facts, "conditions": [clean, {**heard, "snr_db": 5.0}, {**seen, "blur": 2.0}]})
    assert "Blue: sound, orange: pictures. Noise: speech-like, at" in worse and "Blur: sigma" in worse
    assert "On clean media its weighted F1 is" in page and 'id="mer-ray-data"' in page


def test_the_plan_names_what_is_extracted_again(corpus, folds_bundle, tmp_path):
    (table,) = plan_robustness(config_of(corpus, folds_bundle, tmp_path, {"blur": [2]}))
    rows = dict(table.rows)
    assert rows["conditions"] == "clean, blur 2, without audio, without vision"
    assert rows["extracted again"].startswith("blur 2 of face@") and rows["out"].endswith("r.html")


@pytest.mark.parametrize(
    ("noise", "given", "error", "expected"),
    [
        ({"snr_db": [5]}, {}, ConfigError, r"noise\.snr_db: encoder tone@\w+: its features were imported, so that no code here makes them"),
        ({"blur": [1]}, {}, ConfigError, r"noise\.blur: encoder face@\w+: its features were imported.*set noise\.blur: \[\]"),
        ({"store": None}, {}, ConfigError, r"encoder tone@\w+: its features were imported"),
        ({}, {"metric": "valence_cc"}, PredictionError, "metric: 'valence_cc' cannot be had.*did you mean 'valence_ccc'"),
        ({}, {"split": "tests"}, PredictionError, "has no split 'tests'; did you mean 'test'"),
        ({}, {"classes": ["neutral", "angry", "happy", "glad"]}, None, ""),
        ({"bundle": "nowhere"}, {}, RunError, "nowhere: no bundle"),
    ],
)
def test_what_cannot_be_is_one_line(corpus, folds_bundle, tmp_path, noise, given, error, expected):
    config = config_of(corpus, folds_bundle, tmp_path, noise, **given)
    if error is None:
        assert evaluate_robustness(config).facts["classes"] == list(config.classes)
        return
    with pytest.raises(error, match=expected) as caught:
        evaluate_robustness(config)
    assert "\n" not in str(caught.value) and not (tmp_path / "r.json").exists()


def test_labels_that_the_bundle_cannot_predict_are_refused(corpus, folds_bundle, tmp_path):
    manifest = read_manifest(corpus.folder / "manifest.parquet")
    facts = replace(manifest.facts, classes=(*manifest.facts.classes, "fear", "disgust", "bored"))
    emotions = ["fear", "disgust", "fear", *manifest.table["emotion"].to_pylist()[3:]]
    column = manifest.table.column_names.index("emotion")
    write_manifest(Manifest(manifest.table.set_column(column, "emotion", pa.array(emotions)), facts), tmp_path / "more.parquet")
    expected = (
        r"3 of 48 labelled clips are fear, disgust, which .*bundle does not predict; it predicts neutral, angry, happy; map .* label_map"
    )
    with pytest.raises(PredictionError, match=expected) as caught:
        evaluate_robustness(config_of(corpus, folds_bundle, tmp_path, labels=tmp_path / "more.parquet"))
    assert "\n" not in str(caught.value) and [path.name for path in tmp_path.iterdir()] == ["more.parquet"]


def test_labels_of_other_emotions_are_refused(corpus, folds_bundle, tmp_path):
    manifest = read_manifest(corpus.folder / "manifest.parquet")
    is_known = pc.not_equal(manifest.table["emotion"], "happy")
    few = Manifest(manifest.table.filter(is_known), replace(manifest.facts, classes=("neutral", "angry")))
    write_manifest(few, tmp_path / "few.parquet")
    with pytest.raises(PredictionError, match=r"predicts happy, which .*few\.parquet does not have"):
        evaluate_robustness(config_of(corpus, folds_bundle, tmp_path, labels=tmp_path / "few.parquet"))


def test_labels_without_media_are_refused(corpus, folds_bundle, tmp_path):
    expected = (
        r"labels: .*clips\.csv: noise needs a manifest \(\.parquet\), which says where the media are; make one with `mer-ray manifest`"
    )
    with pytest.raises(ValidationError, match=expected):
        config_of(corpus, folds_bundle, tmp_path, labels=tmp_path / "clips.csv")
