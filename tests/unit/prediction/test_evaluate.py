import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from challenge_files import CLASSES, guesses, names, truth, write_csv, write_labels, write_submission
from rich.console import Console
from sklearn import metrics

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.prediction.evaluate import EvaluationSummary, evaluate
from mer_ray.prediction.evaluation_config import EvaluateConfig
from mer_ray.prediction.prediction_table import TRAINED_ON
from mer_ray.prediction.protocols import PROTOCOLS


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels.csv")


def run(*predictions: Path, labels: Path, protocol: str = "mer2023-multi", **options) -> EvaluationSummary:
    given = {"num_resamples": 20, "num_swaps": 49, "out": labels.parent / "scores.json", **options}
    return evaluate(EvaluateConfig(predictions=predictions, labels=labels, protocol=protocol, **given))


def shown(summary: EvaluationSummary) -> str:
    stream = io.StringIO()
    for table in summary.tables():
        table.show(Console(file=stream, width=200))
    return stream.getvalue()


def weighted_f1(label, said) -> float:
    return float(metrics.f1_score(label, said, average="weighted"))


@pytest.mark.parametrize("protocol", ["mer2023-multi", "mer2023-noise"])
def test_the_combined_metric_equals_scikit_learn(labels: Path, tmp_path: Path, protocol: str):
    summary = run(write_submission(tmp_path / "a.csv"), labels=labels, protocol=protocol)
    (file,) = summary.facts["files"]
    (label, valence), (said, said_valence) = truth(), guesses(1, 0.7)
    f1 = weighted_f1([*label, "sad"], [*said, "angry"])
    error = float(metrics.mean_squared_error(valence, said_valence))
    assert file["official"] == pytest.approx(f1 - 0.25 * error, abs=1e-9)
    assert next(iter(file["scores"])) == summary.facts["official"] == "mer2023"
    assert file["scores"]["uar"] == pytest.approx(metrics.balanced_accuracy_score([*label, "sad"], [*said, "angry"]))
    assert file["intervals"]["mer2023"][0] < file["official"] < file["intervals"]["mer2023"][1]
    assert file["confusion"] == metrics.confusion_matrix([*label, "sad"], [*said, "angry"], labels=CLASSES).tolist()
    precision, recall, f1s, support = metrics.precision_recall_fscore_support([*label, "sad"], [*said, "angry"], labels=CLASSES)
    assert [row["recall"] for row in file["per_class"].values()] == pytest.approx(list(recall))
    assert [row["precision"] for row in file["per_class"].values()] == pytest.approx(list(precision))
    assert [row["f1"] for row in file["per_class"].values()] == pytest.approx(list(f1s))
    assert [row["support"] for row in file["per_class"].values()] == list(support)


def test_the_file_holds_what_the_summary_says_and_the_tables_show_it(labels: Path, tmp_path: Path):
    summary = run(write_submission(tmp_path / "a.csv"), labels=labels)
    assert json.loads((tmp_path / "scores.json").read_text()) == summary.facts
    assert (summary.facts["num_labelled"], summary.facts["num_unlabelled"]) == (91, 1)
    text = shown(summary)
    assert f"{summary.facts['files'][0]['official']:.4f}" in text
    assert "a.csv: not scored, without a label: 1 of 92 names" in text
    assert "as surprise" in text and str(tmp_path / "scores.json") in text.replace("\n", "")


@pytest.mark.parametrize("protocol", ["mer2023-semi", "mer2024-semi", "mer2024-noise", "mer2025-semi"])
def test_the_other_tracks_rank_by_weighted_f1_and_need_no_valence(labels: Path, tmp_path: Path, protocol: str):
    said = write_csv(tmp_path / "a.csv", ("name", "discrete"), [*zip(names(), guesses(1, 0.7)[0], strict=True), ("no_valence", "sad")])
    summary = run(said, labels=labels, protocol=protocol)
    (file,) = summary.facts["files"]
    assert file["official"] == pytest.approx(weighted_f1([*truth()[0], "sad"], [*guesses(1, 0.7)[0], "sad"]))
    assert any("exactly 20000" in note for note in file["notes"]) is (protocol == "mer2025-semi")


def test_every_protocol_is_a_choice_of_the_config():
    schema = EvaluateConfig.model_json_schema()
    assert schema["properties"]["protocol"]["enum"] == list(PROTOCOLS)


def parquet_predictions(path: Path, **columns) -> Path:
    said, valence = guesses(1, 0.7)
    table = {"clip_id": names(), "emotion": said, "valence": valence, **columns}
    pq.write_table(pa.table(table), path)
    return path


def manifest_labels(path: Path, **columns) -> Path:
    emotions, valence = truth()
    rows = pa.table({"clip_id": names(), "emotion": emotions, "valence": pa.array(valence, pa.float32()), **columns})
    filled = {
        name: rows[name] if name in rows.column_names else pa.nulls(rows.num_rows, kind)
        for name, kind in zip(MANIFEST_SCHEMA.names, MANIFEST_SCHEMA.types, strict=True)
    }
    write_manifest(Manifest(pa.table(filled), ManifestFacts("corpus", CLASSES, "/")), path)
    return path


def test_abstained_clips_are_scored_and_the_answered_ones_beside_them(tmp_path: Path):
    abstained = [number % 3 == 0 for number in range(len(names()))]
    said = parquet_predictions(tmp_path / "said.parquet", abstained=abstained)
    summary = run(said, labels=manifest_labels(tmp_path / "labels.parquet"), protocol="emotion")
    (file,) = summary.facts["files"]
    pairs = list(zip(truth()[0], guesses(1, 0.7)[0], abstained, strict=True))
    assert file["official"] == pytest.approx(weighted_f1(*zip(*[(label, one) for label, one, _ in pairs], strict=True)))
    answered = [(label, one) for label, one, is_abstained in pairs if not is_abstained]
    assert file["abstention"]["num_abstained"] == 30
    assert file["abstention"]["coverage"] == pytest.approx(60 / 90)
    assert file["abstention"]["scores_of_answered"]["weighted_f1"] == pytest.approx(weighted_f1(*zip(*answered, strict=True)))
    assert "the 66.7 % answered" in shown(summary)


@pytest.mark.parametrize(("num_noted", "said"), [(1, "1 of 40 scored clips"), (40, "all 40 scored clips")])
def test_scores_of_clips_that_were_trained_on_are_called_optimistic(tmp_path: Path, num_noted: int, said: str):
    labels = manifest_labels(tmp_path / "labels.parquet", split=["test"] * 40 + ["train"] * 50)
    # The clips behind the first 40 are not scored; a note may say more than that.
    notes = [f"audio: no sound; {TRAINED_ON}"] * num_noted + [None] * (40 - num_noted) + [TRAINED_ON] * 50
    predictions = parquet_predictions(tmp_path / "said.parquet", note=notes)
    summary = run(predictions, labels=labels, protocol="emotion", split="test")
    assert summary.facts["files"][0]["num_trained_on"] == num_noted
    assert f"said.parquet: its models were trained on {said}: these scores are optimistic, not a test" in shown(summary)
    clean = run(parquet_predictions(tmp_path / "clean.parquet", note=list(range(90))), labels=labels, protocol="emotion", split="test")
    assert clean.facts["files"][0]["num_trained_on"] == 0 and "optimistic" not in shown(clean)


def test_a_manifest_gives_speakers_to_draw_and_splits_to_choose_from(tmp_path: Path):
    speakers = [f"speaker {number % 5}" for number in range(90)]
    labels = manifest_labels(tmp_path / "labels.parquet", speaker_id=speakers, split=["train"] * 50 + ["test"] * 40)
    said = parquet_predictions(tmp_path / "said.parquet")
    whole = run(said, labels=labels, protocol="emotion")
    assert (whole.facts["num_labelled"], whole.facts["num_speakers"]) == (90, 5)
    assert "the 5 speakers with all their clips drawn anew 20 times" in shown(whole)
    compared = run(said, parquet_predictions(tmp_path / "same.parquet"), labels=labels, protocol="emotion")
    assert "49 swaps of the predictions of speakers with all their clips" in shown(compared)
    test = run(said, labels=labels, protocol="emotion", split="test", train_labels=labels)
    assert (test.facts["num_labelled"], test.facts["files"][0]["num_beyond_labels"]) == (40, 50)
    assert test.facts["files"][0]["official"] == pytest.approx(weighted_f1(truth()[0][50:], guesses(1, 0.7)[0][50:]))
    train, of_labels, of_said = test.facts["balance"]
    assert train["shares"]["happy"] == pytest.approx(truth()[0][:50].count("happy") / 50)
    assert of_labels["shares"]["happy"] == pytest.approx(truth()[0][50:].count("happy") / 40)
    assert of_said["shares"]["happy"] == pytest.approx(guesses(1, 0.7)[0].count("happy") / 90)


def test_files_are_compared_with_the_first(labels: Path, tmp_path: Path):
    files = [write_submission(tmp_path / f"{name}.csv", seed, skill) for name, seed, skill in (("a", 1, 0.9), ("b", 2, 0.3), ("c", 1, 0.9))]
    summary = run(*files, labels=labels, protocol="mer2023-semi")
    scores = [file["official"] for file in summary.facts["files"]]
    worse, same = summary.facts["differences"]
    assert worse["difference"] == pytest.approx(scores[1] - scores[0])
    assert worse["interval"][0] < worse["difference"] < worse["interval"][1] < 0
    # None of 49 swaps is as far apart: 2 * 1 / 50, and twice that after Holm.
    assert (worse["p_value"], worse["p_holm"]) == pytest.approx((0.04, 0.08))
    assert (same["difference"], same["p_value"]) == (0.0, 1.0)
    said = [[*guesses(seed, skill)[0], "angry", "happy"] for seed, skill in ((1, 0.9), (2, 0.3))]
    found = summary.facts["agreement"]
    assert found["num_names"] == 92
    assert found["equal"][0][1] == pytest.approx(np.mean([one == two for one, two in zip(*said, strict=True)]))
    assert found["kappa"][0][1] == pytest.approx(metrics.cohen_kappa_score(*said))
    assert found["equal"][2][0] == found["kappa"][2][0] == 1.0
    assert "each file minus a.csv" in shown(summary)


def test_two_files_of_one_class_have_no_kappa(tmp_path: Path):
    labels = write_csv(tmp_path / "labels.csv", ("clip_id", "emotion"), [("x", "sad"), ("y", "happy")])
    files = [write_csv(tmp_path / f"{name}.csv", ("clip_id", "emotion"), [("x", "sad"), ("y", "sad")]) for name in "ab"]
    summary = run(*files, labels=labels, protocol="emotion", num_swaps=9)
    assert summary.facts["agreement"]["kappa"] == [[None, None], [None, None]]
    assert "1.000 (–)" in shown(summary)


def test_values_alone(tmp_path: Path):
    random = np.random.default_rng(0)
    arousal, dominance = random.uniform(0, 1, (2, 90))
    said = arousal * 0.8 + random.normal(0, 0.1, 90)
    labels = write_csv(tmp_path / "l.csv", ("clip_id", "arousal", "dominance"), list(zip(names(), arousal, dominance, strict=True)))
    file = write_csv(tmp_path / "p.csv", ("clip_id", "arousal"), list(zip(names(), said, strict=True)))
    summary = run(file, labels=labels, protocol="values")
    covariance = np.cov(said, arousal)
    ccc = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (said.mean() - arousal.mean()) ** 2)
    (found,) = summary.facts["files"]
    assert found["official"] == found["scores"]["arousal_ccc"] == pytest.approx(ccc)
    assert found["scores"]["arousal_mse"] == pytest.approx(np.mean((said - arousal) ** 2))
    assert found["notes"] == [f"{file}: has no column dominance, which is labelled"]
    by_error = run(file, labels=labels, protocol="values", metric="arousal_mse")
    assert next(iter(by_error.facts["files"][0]["scores"])) == "arousal_mse"


def test_probability_columns_name_the_classes_that_no_label_has(tmp_path: Path):
    labels = write_csv(tmp_path / "l.csv", ("clip_id", "emotion"), [("x", "sad"), ("y", "sad")])
    rows = [("x", "fear", 0.1, 0.9), ("y", "sad", 0.9, 0.1)]
    with_columns = write_csv(tmp_path / "p.csv", ("clip_id", "emotion", "prob_sad", "prob_fear"), rows)
    assert run(with_columns, labels=labels, protocol="emotion", metric="uar").facts["classes"] == ["sad", "fear"]
    bare = write_csv(tmp_path / "b.csv", ("clip_id", "emotion"), [row[:2] for row in rows])
    assert run(bare, labels=labels, protocol="emotion", classes=("fear", "sad")).facts["files"][0]["scores"]["accuracy"] == 0.5
