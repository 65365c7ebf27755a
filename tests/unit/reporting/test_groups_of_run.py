from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn import metrics
from written_run import CLASSES, RunMaker

from mer_ray.core.manifest import MANIFEST_SCHEMA, Manifest, ManifestFacts, write_manifest
from mer_ray.core.media_types import Features
from mer_ray.objectives import Outcome, intervals
from mer_ray.reporting.groups import groups_of
from mer_ray.reporting.runs import SplitPredictions, read_run
from mer_ray.reporting.scoring import MIN_CLIPS, GroupScore, find_gap, score_groups
from mer_ray.store.layout import open_store
from mer_ray.store.record import EncoderRecord, encoder_key
from mer_ray.store.writer import FeatureRow, write_features

IDENTITY = "01234567" * 8
QUALITY = {"name": "sound_quality", "modality": "audio", "layers": {"snr_db": 1}}
Facts = Callable[[int], dict[str, Any]]


def write_facts(folder: Path, facts: Facts, num_clips: int = 60) -> dict[str, str]:
    """A manifest with columns of the clip's number; the part of a run's config that names it."""
    rows = [dict.fromkeys(MANIFEST_SCHEMA.names) | {"clip_id": f"clip_{clip:03d}", **facts(clip)} for clip in range(num_clips)]
    table = pa.Table.from_pylist(rows, MANIFEST_SCHEMA)
    write_manifest(Manifest(table, ManifestFacts("synthetic", CLASSES, "/")), folder / "manifest.parquet")
    return {"manifest": str(folder / "manifest.parquet")}


def found_of(folder: Path, metric: str = "accuracy") -> dict[str, Any]:
    run = read_run(folder)
    predictions = run.predictions("test")
    return groups_of(run, predictions.select(predictions.labels_N >= 0), metric)


def table_of(folder: Path, name: str, metric: str = "accuracy") -> dict[str, Any]:
    (table,) = [table for table in found_of(folder, metric)["tables"] if table["name"] == name]
    return dict(table)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "predictions/test.parquet").to_pylist()
    return rows


def mean_over_seeds(rows: list[dict[str, Any]], score: Any) -> float:
    parts = [[row for row in rows if row["seed"] == seed] for seed in sorted({row["seed"] for row in rows})]
    return float(np.mean([score([r["label_emotion"] for r in part], [r["emotion"] for r in part]) for part in parts]))


def wrong_share(folder: Path) -> np.ndarray:
    """Per clip the share of seeds that are wrong."""
    wrong = np.zeros(60)
    for row in rows_of(folder):
        wrong[int(row["clip_id"].removeprefix("clip_"))] += (row["emotion"] != row["label_emotion"]) / 3
    return wrong


def test_speakers_equal_scikit_learn(make_run: RunMaker) -> None:
    folder = make_run(skill=1.0)
    table = table_of(folder, "speaker")
    assert sorted(row["group"] for row in table["rows"]) == ["s0", "s1", "s2", "s3"]
    accuracies = [row["scores"]["accuracy"]["mean"] for row in table["rows"]]
    assert accuracies == sorted(accuracies)
    for found in table["rows"]:
        rows = [row for row in rows_of(folder) if row["speaker_id"] == found["group"]]
        assert (found["num_clips"], found["is_small"]) == (15, True)
        assert found["scores"]["accuracy"]["mean"] == pytest.approx(mean_over_seeds(rows, metrics.accuracy_score))
        weighted = mean_over_seeds(rows, lambda label, guess: metrics.f1_score(label, guess, average="weighted", zero_division=0))
        assert found["scores"]["weighted_f1"]["mean"] == pytest.approx(weighted)
        assert found["scores"]["uar"]["mean"] == pytest.approx(mean_over_seeds(rows, metrics.balanced_accuracy_score))
        assert found["scores"]["uar"]["low"] is None


def test_presence_is_read_from_attention(make_run: RunMaker) -> None:
    folder = make_run(skill=1.0)
    rows = table_of(folder, "presence")["rows"]
    assert [(row["group"], row["num_clips"], row["is_small"]) for row in rows] == [("all present", 54, False), ("without audio", 6, True)]
    without = [row for row in rows_of(folder) if row["attention_spectral"] is None]
    assert rows[1]["scores"]["accuracy"]["mean"] == pytest.approx(mean_over_seeds(without, metrics.accuracy_score))


def test_a_gap_between_sexes_is_named_only_where_it_is_more_than_chance(make_run: RunMaker, tmp_path: Path) -> None:
    folder = make_run(skill=1.0, config={"manifest": str(tmp_path / "manifest.parquet")})
    wrong = wrong_share(folder)
    worst = set(np.argsort(-wrong, kind="stable")[:30].tolist())
    write_facts(tmp_path, lambda clip: {"sex": "male" if clip in worst else "female"})
    table = table_of(folder, "sex")
    assert [(row["group"], row["num_clips"]) for row in table["rows"]] == [("male", 30), ("female", 30)]
    accuracies = [row["scores"]["accuracy"]["mean"] for row in table["rows"]]
    assert accuracies[0] == pytest.approx(1 - wrong[list(worst)].mean())
    assert table["headline"].startswith(
        f"Accuracy is {accuracies[1] - accuracies[0]:.3f} lower for “male” than for “female” (95 % interval "
    )
    write_facts(tmp_path, lambda clip: {"sex": "male" if clip % 2 else "female"})
    assert table_of(folder, "sex")["headline"] is None


def make_predictions(accuracies: dict[str, float], num_clips: int, num_seeds: int = 2, seed: int = 0) -> tuple[SplitPredictions, Any]:
    """Groups with a known accuracy on four classes, and the group of each row."""
    random = np.random.default_rng(seed)
    names = np.repeat(np.asarray(list(accuracies), dtype=object), num_clips)
    labels_N = np.arange(len(names)) % 4
    chances_N = [accuracies[name] for name in names]
    predicted = [np.where(random.random(len(names)) < chances_N, labels_N, (labels_N + 1) % 4) for _ in range(num_seeds)]
    count = len(names) * num_seeds
    predictions = SplitPredictions(
        clip_ids_N=np.tile([f"c{number:04d}" for number in range(len(names))], num_seeds).astype(object),
        folds_N=np.full(count, -1),
        seeds_N=np.repeat(np.arange(num_seeds), len(names)),
        speakers_N=np.full(count, None),
        probabilities_NC=np.full((count, 4), 0.25),
        labels_N=np.tile(labels_N, num_seeds),
        predicted_N=np.concatenate(predicted),
        values_N={},
        value_labels_N={},
        attention_NS=np.zeros((count, 0)),
        attention_names=(),
    )
    return predictions, np.tile(names, num_seeds)


def scores_of(accuracies: dict[str, float], num_clips: int, **options: int) -> list[GroupScore]:
    return score_groups(*make_predictions(accuracies, num_clips, **options), classes=("w", "x", "y", "z"))


def test_the_widest_gap_is_found_with_its_interval() -> None:
    gap = find_gap(scores_of({"a": 0.8, "b": 0.5, "c": 0.75}, 150), "accuracy")
    assert gap is not None
    assert (gap.lowest.group, gap.highest.group, gap.num_comparisons) == ("b", "a", 3)
    assert 0 < gap.low < gap.difference < gap.high
    # Standard errors of two proportions (two seeds each), 95 % shared by three comparisons: 2.4 deviations.
    errors = [share * (1 - share) / 300 for share in (0.5, 0.8)]
    assert (gap.high - gap.low) / 2 == pytest.approx(2.41 * np.sqrt(sum(errors)), rel=0.15)


@pytest.mark.slow
def test_alike_groups_rarely_have_a_gap_though_the_extremes_are_compared() -> None:
    accuracies = {"a": 0.6, "b": 0.6, "c": 0.6}
    num_gaps = sum(find_gap(scores_of(accuracies, 30, num_seeds=1, seed=seed), "accuracy") is not None for seed in range(30))
    assert num_gaps <= 4


def test_small_groups_have_no_interval_and_no_gap() -> None:
    scored = scores_of({"a": 1.0, "b": 0.0}, MIN_CLIPS - 1)
    assert find_gap(scored, "accuracy") is None
    assert [one.row()["is_small"] for one in scored] == [True, True]


def test_intervals_are_those_of_the_bootstrap() -> None:
    predictions, _ = make_predictions({"a": 0.7}, 80)
    outcomes = [
        Outcome(torch.as_tensor(predictions.labels_N[rows]), torch.as_tensor(predictions.predicted_N[rows]), {}, {}, 4)
        for rows in (slice(0, 80), slice(80, 160))
    ]
    row = scores_of({"a": 0.7}, 80)[0].row()["scores"]["uar"]
    assert (row["low"], row["high"]) == pytest.approx(intervals(outcomes, seed=5)["uar"], abs=0.02)


def test_durations_are_parted_at_real_edges_in_their_order(make_run: RunMaker, tmp_path: Path) -> None:
    config = write_facts(tmp_path, lambda clip: {"duration_s": None if clip == 7 else 1 + clip / 10})
    rows = table_of(make_run(config=config), "duration")["rows"]
    edges = np.quantile([1 + clip / 10 for clip in range(60) if clip != 7], [0.25, 0.5, 0.75], method="inverted_cdf")
    low, middle, high = (f"{edge:.1f}" for edge in edges)
    assert [row["group"] for row in rows] == [
        f"up to {low} s",
        f"{low} to {middle} s",
        f"{middle} to {high} s",
        f"over {high} s",
        "unknown",
    ]
    assert [row["num_clips"] for row in rows] == [15, 15, 15, 14, 1]


def test_clips_without_a_corpus_are_of_the_manifest_s_own(make_run: RunMaker, tmp_path: Path) -> None:
    config = write_facts(tmp_path, lambda clip: {"corpus": "joined" if clip < 20 else None})
    assert {row["group"]: row["num_clips"] for row in table_of(make_run(config=config), "corpus")["rows"]} == {
        "joined": 20,
        "synthetic": 40,
    }


def write_encoder(folder: Path, rows: list[FeatureRow], identity: str = IDENTITY, **facts: Any) -> None:
    record = EncoderRecord.model_validate({"key": encoder_key(facts["name"], identity), "identity": identity, "config": {}, **facts})
    write_features(open_store(folder), "synthetic", record, rows)


def test_noise_is_read_from_the_encoder_sound_quality(make_run: RunMaker, tmp_path: Path) -> None:
    zero_D = np.zeros(1, np.float32)
    rows = [
        FeatureRow(
            f"clip_{clip:03d}",
            "hash",
            Features(0, 0.0) if clip >= 56 else Features(1, 0.0, {"snr_db": np.float32([clip / 2 - 5])}, {"snr_db": zero_D}),
        )
        for clip in range(60)
    ]
    write_encoder(tmp_path / "store", rows, **QUALITY)
    folder = make_run(config={"store": str(tmp_path / "store")})
    table = table_of(folder, "snr")
    assert [(row["group"], row["num_clips"]) for row in table["rows"]] == [
        ("up to 1.5 dB", 14),
        ("1.5 to 8.5 dB", 14),
        ("8.5 to 15.5 dB", 14),
        ("over 15.5 dB", 14),
        ("unknown", 4),
    ]
    assert table["what"] == "signal to noise"


def test_without_the_encoder_the_report_says_what_to_extract(make_run: RunMaker, tmp_path: Path) -> None:
    notes = found_of(make_run(config={"store": str(tmp_path / "store")}))["notes"]
    assert "signal to noise: extract the encoder sound_quality to see scores by it" in notes
    assert not any("signal" in note for note in found_of(make_run("text", streams=("hashing",)))["notes"])
    for identity in (IDENTITY, "f" * 64):
        write_encoder(tmp_path / "store", [FeatureRow("clip_000", "hash", Features(0, 0.0))], identity, **QUALITY)
    notes = found_of(make_run("two", config={"store": str(tmp_path / "store")}))["notes"]
    assert any("sound_quality@01234567 and sound_quality@ffffffff: remove all but one" in note for note in notes)


def test_faces_are_parted_by_how_often_they_are_seen(make_run: RunMaker, tmp_path: Path) -> None:
    vector_D = np.zeros(2, np.float32)
    shares = [None, 1.0, 0.8, 0.5, *[0.0] * 56]
    rows = [
        FeatureRow(
            f"clip_{clip:03d}",
            "hash",
            Features(3, 0.1, {"a": vector_D}, {"a": vector_D}, {}, share)
            if share not in (None, 1.0)
            else Features(0, 0.0, no_face_share=share),
        )
        for clip, share in enumerate(shares)
    ]
    write_encoder(tmp_path / "store", rows, name="gradient", modality="vision", layers={"a": 2}, detects_faces=True)
    table = table_of(make_run(config={"store": str(tmp_path / "store")}), "faces")
    assert [(row["group"], row["num_clips"]) for row in table["rows"]] == [
        ("in no frame", 1),
        ("in less than half of the frames", 1),
        ("in at least half of the frames", 1),
        ("in every frame", 56),
        ("unknown", 1),
    ]


def test_what_cannot_be_shown_is_said(make_run: RunMaker, tmp_path: Path) -> None:
    notes = found_of(make_run(config={"manifest": str(tmp_path / "gone.parquet")}))["notes"]
    (lost,) = [note for note in notes if "no such manifest" in note]
    assert lost.startswith("sex, corpus, duration: ")
    notes = found_of(make_run("known", config=write_facts(tmp_path, lambda clip: {})))["notes"]
    assert "sex, duration: the manifest does not know it" in notes
    assert "corpus: one group only (synthetic)" in notes
    notes = found_of(make_run("deaf", attention=False))["notes"]
    assert any("stored no attention weights" in note for note in notes)
    assert "sex, corpus, duration: the run's config names no manifest" in notes


def test_values_have_groups_of_emotion_scores(make_run: RunMaker) -> None:
    found = found_of(make_run(), metric="valence_mse")
    assert (found["metric"], found["metrics"]) == ("weighted_f1", ["weighted_f1", "uar", "accuracy"])
    assert found_of(make_run("none", num_unlabelled=60 - 1))["tables"] == []
