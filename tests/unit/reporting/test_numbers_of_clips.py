"""A model's numbers about clips against noise, its uncertainties and its values of emotions, on numbers that can be checked by hand."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from written_run import RunMaker

from mer_ray.objectives.bootstrap import mean_interval
from mer_ray.reporting.class_values import class_values_of
from mer_ray.reporting.curves import curves_by_step
from mer_ray.reporting.noise import MAX_BINS, rank_correlation, relate_to_noise
from mer_ray.reporting.robustness_figures import conditions_figure
from mer_ray.reporting.robustness_page import colours_of, gates_of, headline_of
from mer_ray.reporting.runs import read_run
from mer_ray.reporting.scoring import MIN_CLIPS
from mer_ray.reporting.uncertainty import uncertainties_of
from mer_ray.reporting.words import format_significant


def test_the_interval_of_a_rank_correlation_holds_the_truth_as_often_as_it_says():
    random, truth, num_draws = np.random.default_rng(0), 0.5, 200
    # Spearman's of a normal pair whose Pearson's is this.
    pearson = 2 * math.sin(math.pi * truth / 6)
    hits = 0
    for _ in range(num_draws):
        one_K, other_K = random.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], 60).T
        found = rank_correlation(one_K, other_K)
        assert found is not None and found["value"] == pytest.approx(spearmanr(one_K, other_K).statistic)
        hits += found["low"] <= truth <= found["high"]
    assert 0.91 <= hits / num_draws <= 0.99


@pytest.mark.parametrize("other", [[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
def test_a_correlation_that_is_not_defined_is_none(other: list[float]):
    assert rank_correlation(np.arange(len(other), dtype=float), np.array(other)) is None
    perfect = rank_correlation(np.arange(4.0), np.arange(4.0))
    assert perfect is not None and perfect["low"] <= perfect["high"] <= 1


def test_bins_hold_all_clips_once_from_noisy_to_clean():
    num_clips = MAX_BINS * MIN_CLIPS + 5
    snr_K = np.random.default_rng(0).permutation(num_clips).astype(float)
    found = relate_to_noise(np.array([f"clip{k}" for k in range(num_clips)]), snr_K, snr_K / num_clips)
    bins = found["bins"]
    assert len(bins) == MAX_BINS and sum(one["num_clips"] for one in bins) == num_clips
    assert all(before["high"] < after["low"] for before, after in itertools.pairwise(bins))
    first_K = np.sort(snr_K)[: bins[0]["num_clips"]] / num_clips
    assert bins[0]["mean"] == pytest.approx(first_K.mean())
    assert (bins[0]["mean_low"], bins[0]["mean_high"]) == pytest.approx(mean_interval(first_K))
    assert relate_to_noise(np.array(["a"]), np.array([1.0]), np.array([1.0]))["bins"] == []


def test_terms_of_a_loss_are_told_from_the_steps_that_have_them():
    names = ("vision_emotion", "audio_emotion", "audio_visual_emotion", "audio_reconstruction_audio", "audio_visual_valence")
    history = [{"fold": 0, "seed": 0, "epoch": 1, **{f"train_loss_{name}": 1.0 for name in names}}]
    found = {one["step"]: [term["term"] for term in one["terms"]] for one in curves_by_step(history, "train_loss_", ("valence",))}
    assert found == {"vision": ["emotion"], "audio": ["emotion", "reconstruction_audio"], "audio_visual": ["emotion", "valence"]}
    plain = [{"fold": 0, "seed": 0, "epoch": 1, "train_loss_emotion": 1.0, "train_loss_valence": 2.0}]
    assert [one["step"] for one in curves_by_step(plain, "train_loss_", ("valence",))] == [None]


def test_the_variance_of_a_loss_is_that_of_the_last_epochs(make_run: RunMaker):
    run = read_run(make_run(seeds=(0, 1), folds=None))
    assert uncertainties_of(run) is None
    run.history[:] = [
        {"fold": None, "seed": seed, "epoch": epoch, "log_variance_emotion": epoch * (seed + 1.0)} for seed in (0, 1) for epoch in (1, 2)
    ]
    found = uncertainties_of(run)
    assert found is not None
    (row,) = found["final"]
    assert (row["step"], row["term"], row["num_fits"]) == (None, "emotion", 2)
    assert row["mean"] == pytest.approx((math.exp(2) + math.exp(4)) / 2)
    assert row["std"] == pytest.approx((math.exp(4) - math.exp(2)) / math.sqrt(2))


def test_values_of_emotions_stand_beside_those_of_the_labels(make_run: RunMaker):
    run = read_run(make_run())
    assert class_values_of(run) == []
    run.facts["class_means"] = {"valence": {"neutral": 0.0, "angry": -2.0}}
    run.facts["learnt"] = [
        {"fold": 0, "seed": seed, "class_values": {"valence": {"neutral": 0.5 + seed, "angry": -2.0, "sad": 1.0}}} for seed in (0, 1)
    ]
    (table,) = class_values_of(run)
    rows = {row["class"]: row for row in table["rows"]}
    assert list(rows) == ["neutral", "angry", "sad"] and rows["sad"]["data"] is None
    assert (rows["neutral"]["mean"], rows["neutral"]["std"]) == (1.0, pytest.approx(math.sqrt(0.5)))
    assert table["verdict"] == "Learnt and labelled lie 0.50 apart on average, farthest for neutral: 1.00 learnt, 0.00 labelled."


BARS = (("clean", [0.4, 0.8]), ("noise 5 dB", [0.2, 0.6]), ("noise 0 dB", None))
COUNTS = {"num_labelled": 90, "num_speakers": None, "num_swaps": 9999}


def condition(name: str, snr_db: float | None, score: float, p_holm: float | None, gate: float) -> dict[str, Any]:
    difference = None if p_holm is None else {"difference": score - 0.8, "p_holm": p_holm}
    change = None if p_holm is None else {"mean": gate - 0.9, "interval": [gate - 0.92, gate - 0.88]}
    fact = {"mean": gate, "interval": None, "num_clips": 3, "only_complete": True, "is_fixed": name.startswith("without"), "change": change}
    facts = {"guide_gate": fact}
    return {"condition": name, "snr_db": snr_db, "official": score, "difference": difference, "facts": facts}


def test_a_robustness_page_orders_gates_by_the_ratio_and_names_what_costs_most():
    clean = condition("clean", None, 0.8, None, 0.9)
    noisy = [condition("noise 5 dB", 5, 0.6, 0.01, 0.6), condition("noise -5 dB", -5, 0.3, 0.06, 0.2)]
    facts = {**COUNTS, "official": "weighted_f1", "conditions": [clean, *noisy, condition("without vision", None, 0.7, 0.01, 0.9)]}
    (gate,) = gates_of(facts)
    assert [(one["level"], one["mean"]) for one in gate["levels"]] == [("-5 dB", 0.2), ("5 dB", 0.6), ("clean", 0.9)]
    assert (gate["clips"], gate["fixed"]) == ("the 3 clips that have every input", ["without vision"])
    assert headline_of(facts).endswith("The largest change that is more than chance is −0.200: noise 5 dB.")
    assert gates_of({**facts, "conditions": [clean, facts["conditions"][-1]]}) == []
    assert "No condition differs" in headline_of({**facts, "conditions": [clean, noisy[1]]})
    # Six speakers can be swapped in 64 ways: 2 / 64 for each of three conditions.
    few = "The p-values cannot say whether that is chance: with 6 speakers none can lie below 0.094 after Holm."
    assert headline_of({**facts, "num_speakers": 6}).endswith(f"The largest change is −0.500: noise -5 dB. {few}")


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (0.2, "Yes, it closes: 0.90 clean, 0.20 at -5 dB; on average −0.700 per clip (95 % interval −0.720 to −0.680)."),
        (
            0.91,
            "These clips do not show that it does: 0.90 clean, 0.91 at -5 dB; on average 0.010 per clip (95 % interval −0.010 to 0.030).",
        ),
        (0.93, "Hardly: 0.90 clean, 0.93 at -5 dB; on average 0.030 per clip (95 % interval 0.010 to 0.050)."),
    ],
)
def test_the_page_answers_whether_a_gate_changes_with_noise(gate: float, expected: str):
    clean, noisy = condition("clean", None, 0.8, None, 0.9), condition("noise -5 dB", -5, 0.3, 0.06, gate)
    (found,) = gates_of({**COUNTS, "conditions": [clean, condition("noise 5 dB", 5, 0.6, 0.01, 0.6), noisy]})
    assert found["answer"] == expected


def test_colours_are_explained_of_what_was_tested():
    rows = [{"modality": None}, {"modality": "vision"}]
    assert colours_of({"conditions": rows}) == "Orange: pictures"
    assert colours_of({"conditions": [*rows, {"modality": "audio"}]}) == "Blue: sound, orange: pictures"


def test_bars_of_scores_end_within_the_plot():
    rows = [{"condition": name, "modality": None, "official": 0.5, "intervals": {"uar": bounds}} for name, bounds in BARS]
    axis = conditions_figure({"conditions": rows, "official": "uar"}).layout.xaxis
    assert tuple(axis.range) == pytest.approx((0.2 - 0.03, 0.8 + 0.03))
    alike = conditions_figure({"conditions": [{**rows[0], "intervals": {}}], "official": "uar"}).layout.xaxis
    assert tuple(alike.range) == pytest.approx((0.45, 0.55))


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "–"), (0.0, "0"), (0.012345, "0.0123"), (1.2345, "1.23"), (1234.5, "1234"), (-0.5, "−0.500")]
)
def test_three_significant_digits_have_no_exponent(value: float | None, expected: str):
    assert format_significant(value) == expected
