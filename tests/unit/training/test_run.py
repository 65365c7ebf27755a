import json

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import f1_score
from training_corpus import CLASSES, make_corpus

from mer_ray.core.batch import TaskSpec
from mer_ray.core.errors import RunError
from mer_ray.core.predictions import predictions_schema
from mer_ray.training import selection, train
from mer_ray.training.train import plan_training


def test_a_run_holds_what_the_report_reads(corpus):
    config = corpus.config(seeds=[3, 5], epochs=25)
    summary = train(config)
    facts = json.loads((config.out / "run.json").read_text())
    assert facts == summary.facts
    assert (facts["name"], facts["seeds"], facts["folds"], facts["protocol"]) == ("run", [3, 5], [0, 1, 2, 3], "folds")
    assert (facts["classes"], facts["values"], facts["normalisation"]) == (list(CLASSES), ["valence"], "train")
    assert facts["streams"][1] | {"encoder": ""} == {
        "name": "face", "modality": "vision", "dim": 12, "encoder": "", "layers": ["last"], "statistics": ["mean", "std"], "kind": "pooled",
    }  # fmt: skip
    assert facts["num_clips"] == {"test": 61} and facts["seconds"] > 0 and facts["model"]["name"] == "attention"
    assert facts["precision"] == "float32"
    table = pq.read_table(config.out / "predictions" / "test.parquet")
    assert table.schema.equals(predictions_schema(TaskSpec(CLASSES, ("valence",)), ("tone", "face")))
    assert table.num_rows == 122 and len(set(table["clip_id"].to_pylist())) == 61
    scores = json.loads((config.out / "scores.json").read_text())["splits"]["test"]
    assert [row["seed"] for row in scores["per_seed"]] == [3, 5] and scores["num_clips"] == 61
    seed = table.filter(np.array(table["seed"].to_pylist()) == 5)
    assert scores["per_seed"][1]["weighted_f1"] == pytest.approx(f1_score(seed["label_emotion"], seed["emotion"], average="weighted"))
    assert scores["mean"]["weighted_f1"] == pytest.approx(np.mean([row["weighted_f1"] for row in scores["per_seed"]]))
    low, high = scores["interval"]["weighted_f1"]
    assert low < scores["mean"]["weighted_f1"] < high and scores["mean"]["weighted_f1"] > 0.8
    assert np.sum(scores["confusion"]) == 61 and list(scores["per_class"]) == list(CLASSES)


def test_the_curve_has_a_row_per_fold_seed_and_epoch(corpus):
    config = corpus.config(seeds=[0, 1], epochs=3, protocol={"name": "folds", "dev": "next_fold"})
    train(config)
    rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert [(row["fold"], row["seed"], row["epoch"]) for row in rows] == [(f, s, e) for f in range(4) for s in (0, 1) for e in range(3)]
    assert {"train_loss", "train_loss_emotion", "train_loss_valence", "learning_rate", "seconds", "dev_uar", "dev_mer2023"} <= set(rows[0])
    assert (config.out / "predictions" / "dev.parquet").is_file()


def test_splits_predict_dev_and_every_test_split(corpus):
    config = corpus.config(protocol={"name": "splits"}, early_stopping={"metric": "uar", "patience": 2}, values=[])
    summary = train(config)
    assert list(summary.scores) == ["dev", "test"] and summary.facts["folds"] is None
    assert summary.facts["num_clips"] == {"train": 31, "dev": 15, "test": 15}
    assert pq.read_table(config.out / "predictions" / "test.parquet")["fold"].null_count == 15
    assert (config.out / "checkpoints" / "seed0" / "best.pt").is_file()
    assert "valence_mse" not in summary.scores["test"]["mean"] and summary.scores["test"]["std"]["uar"] is None


def test_best_weights_can_be_used_without_the_run(corpus):
    config = corpus.config()
    train(config)
    state = torch.load(config.out / "checkpoints" / "fold1-seed0" / "best.pt", weights_only=True)
    assert state["streams"] == [["tone", "audio", 24, False], ["face", "vision", 12, False]] and state["classes"] == list(CLASSES)
    assert state["normalisation"]["tone"]["mean"].shape == (24,) and (state["fold"], state["seed"], state["epoch"]) == (1, 0, 5)
    assert {"attention.weight", "emotion_head.bias"} <= set(state["model"])


def test_speaker_normalisation_is_named_transductive_everywhere(corpus):
    summary = train(corpus.config(normalise="speaker"))
    assert summary.facts["normalisation"] == "speaker (transductive)"
    assert any("transductive" in note for note in summary.table().notes)


def test_candidates_are_chosen_for_each_fold_and_recorded(corpus):
    config = corpus.config(candidates=[{"learning_rate": 1e-9}, {"learning_rate": 2e-2, "epochs": 25}], select_metric="uar")
    summary = train(config)
    assert [one["fold"] for one in summary.facts["chosen"]] == [0, 1, 2, 3]
    assert all(one["candidate"] == 1 and one["changes"]["epochs"] == 25 and len(one["scores"]) == 2 for one in summary.facts["chosen"])
    rows = (config.out / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 4 * 25 and summary.scores["test"]["mean"]["uar"] > 0.7


def test_folds_may_choose_other_models(corpus, monkeypatch):
    """The second fold's choice has no gates: their column is null there."""
    scores = iter([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    monkeypatch.setattr(selection, "_score_candidate", lambda *_: next(scores))
    models = [{"model": {"name": "hierarchical", "hidden": 8}}, {"model": {"name": "lmf", "hidden": 8}}]
    config = corpus.config(candidates=models, epochs=1)
    assert [one["candidate"] for one in train(config).facts["chosen"]] == [0, 1, 0, 0]
    table = pq.read_table(config.out / "predictions" / "test.parquet")
    is_second = pc.equal(table["fold"], 1)
    assert table["model_gate_valence"].is_null().equals(is_second) and table["valence"].null_count == 0


def test_a_complete_run_says_so_and_is_left_alone(corpus):
    config = corpus.config()
    first = train(config)
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*") if path.is_file()}
    second = train(config)
    assert second.was_complete and not first.was_complete
    assert second.scores == first.scores and second.facts == first.facts
    assert "was complete already" in second.table().notes[0]
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("*") if path.is_file()} == before


def test_a_folder_with_another_run_is_refused(corpus):
    train(corpus.config())
    expected = r"holds another run: epochs differs; give another `out` \(in a job: vars\.out=.*\), or delete the folder"
    with pytest.raises(RunError, match=expected):
        train(corpus.config(epochs=7))


def test_a_folder_with_something_else_is_refused(corpus):
    config = corpus.config()
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match=r"is not empty and holds no run\.json"):
        train(config)
    assert [path.name for path in config.out.iterdir()] == ["thesis.txt"]


def test_failures_and_absent_classes_are_noted(tmp_path):
    change = {number: {"emotion": "neutral"} for number in range(61) if number % 4 != 0}
    summary = train(make_corpus(tmp_path, failed=(3,), change=change).config(class_weights="balanced"))
    notes = " ".join(summary.facts["notes"])
    assert "1 of 61 clips failed in the extraction of face@" in notes
    assert "training part of fold 0 has no clip of angry, happy" in notes
    assert notes in " ".join(summary.table().notes)


def test_a_test_split_without_labels_is_predicted_and_not_scored(tmp_path):
    blank = {number: {"emotion": None, "valence": None} for number in range(61) if number % 4 == 3}
    config = make_corpus(tmp_path, change=blank).config(protocol={"name": "splits"})
    summary = train(config)
    assert list(summary.scores) == ["dev"]
    table = pq.read_table(config.out / "predictions" / "test.parquet")
    assert table.num_rows == 15 and table["label_emotion"].null_count == 15 and table["emotion"].null_count == 0


def test_the_plan_counts_the_models(corpus):
    plan = dict(plan_training(corpus.config(seeds=[0, 1], candidates=[{"epochs": 2}, {"epochs": 3}])).rows)
    assert plan["models to train"] == "8 (4 folds, 2 seeds), and 24 to choose between 2 candidates"
    assert "not there yet" in dict(plan_training(corpus.config(manifest="later.parquet")).rows)["models to train"]
    assert dict(plan_training(corpus.config(protocol={"name": "splits"})).rows)["models to train"] == "1 (a seed each)"


def test_another_precision_is_another_run(corpus):
    train(corpus.config())
    with pytest.raises(RunError, match=r"another run: precision differs \(float32 there, bfloat16 here\); set precision=float32 to go on"):
        train(corpus.config(precision="bfloat16"))
    assert train(corpus.config(precision="float32")).was_complete


def test_one_class_is_refused_before_anything_is_trained(tmp_path):
    config = make_corpus(tmp_path, change={number: {"emotion": "happy"} for number in range(61)}).config()
    with pytest.raises(RunError, match="planted: a classifier needs clips of at least 2 emotions, this corpus has happy; label"):
        train(config)
    assert not config.out.exists()


def _damage_facts(out):
    (out / "run.json").write_text("[]")


def _damage_config(out):
    (out / "config.yaml").write_text("[]")


def _damage_predictions(out):
    path = out / "checkpoints" / "fold0-seed0" / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:200])


def _damage_history(out):
    (out / "checkpoints" / "fold0-seed0" / "finished.json").write_text("{}")


def _foreign_checkpoint(out):
    fit = out / "checkpoints" / "fold0-seed0"
    (fit / "finished.json").unlink()
    torch.save({"cat": 1}, fit / "last.pt")


def _foreign_state(out):
    fit = out / "checkpoints" / "fold0-seed0"
    (fit / "finished.json").unlink()
    torch.save({"network": {"w": torch.zeros(1)}, "optimisers": {}}, fit / "last.pt")


@pytest.mark.parametrize(
    ("damage", "changes", "message"),
    [
        (_damage_facts, {}, r"run\.json: holds list, not a mapping; delete the run folder to train anew"),
        (_damage_config, {"epochs": 7}, r"holds another run: its config\.yaml cannot be read; give another"),
        (_damage_predictions, {}, r"predictions\.parquet: missing, or no Parquet .* delete .*fold0-seed0 to train this part anew"),
        (_damage_history, {}, r"finished\.json: holds no history of a fit; delete .*fold0-seed0 to train"),
        (_foreign_checkpoint, {}, r"last\.pt: holds no state of a training; delete .*fold0-seed0 to train"),
        (_foreign_state, {}, r"fold 0, seed 0: last\.pt holds no state of this model; delete this fit's folder"),
    ],
)
def test_a_damaged_file_of_a_run_is_one_line(corpus, damage, changes, message):
    out = corpus.config().out
    train(corpus.config())
    (out / "scores.json").unlink()
    damage(out)
    with pytest.raises(RunError, match=message) as caught:
        train(corpus.config(**changes))
    assert "\n" not in str(caught.value)


def test_a_corpus_of_values_without_emotions_is_trained_and_scored(tmp_path):
    corpus = make_corpus(tmp_path, change={number: {"emotion": None} for number in range(61)})
    summary = train(corpus.config(epochs=1))
    assert "valence_ccc" in summary.scores["test"]["mean"] and "uar" not in summary.scores["test"]["mean"]
