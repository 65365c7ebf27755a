import pytest
import torch
from scipy.stats import binomtest

from mer_ray.objectives import Outcome, score
from mer_ray.objectives.metrics import swapped_scores, take
from mer_ray.objectives.pairing import are_paired, difference, holm, smallest_p


def outcome(predicted, num_classes=3, shift=0.0):
    label_N = torch.arange(len(predicted)) % num_classes
    valence_N = torch.arange(len(predicted)) % 5 - 2.0
    noise_N = torch.sin(torch.arange(len(predicted)) * 1.7)
    return Outcome(label_N, torch.tensor(predicted), {"valence": valence_N}, {"valence": valence_N + shift * noise_N}, num_classes)


def right_or_wrong(hits):
    return outcome([number % 3 if hit else (number + 1) % 3 for number, hit in enumerate(hits)])


def test_the_p_value_of_accuracy_is_the_exact_sign_test():
    first = right_or_wrong([1, 0, 0, 0, 0, 0, 0, 1, 0, 1])
    other = right_or_wrong([1, 1, 1, 1, 1, 1, 1, 0, 1, 1])
    found = difference([first], [other], "accuracy", seed=0, num_resamples=200)
    # Eight clips differ, seven of them for the better: few enough clips that all swaps are counted.
    assert found.p_value == pytest.approx(binomtest(7, 8).pvalue)
    assert found.mean == pytest.approx(0.6)
    assert found.interval[0] < 0.6 < found.interval[1]


def test_random_swaps_come_close_to_the_sign_test():
    first, other = right_or_wrong([1] * 30 + [0] * 10 + [1] * 3), right_or_wrong([1] * 30 + [1] * 10 + [0] * 3)
    found = difference([first], [other], "accuracy", seed=1, num_resamples=10, num_swaps=1999)
    assert found.p_value == pytest.approx(binomtest(10, 13).pvalue, abs=0.03)
    assert difference([first], [other], "accuracy", seed=1, num_resamples=10, num_swaps=1999) == found


def test_whole_groups_are_swapped_as_they_are_drawn():
    """Three clips of each of five speakers, who all gain: the sign test of five speakers, not of fifteen clips."""
    first, other = right_or_wrong([0] * 15), right_or_wrong([1] * 15)
    speaker_N = torch.arange(15) // 3 * 10 + 7
    found = difference([first], [other], "accuracy", seed=0, groups_N=speaker_N, num_resamples=50)
    assert found.p_value == pytest.approx(binomtest(5, 5).pvalue) == smallest_p(5)
    alone = difference([first], [other], "accuracy", seed=0, num_resamples=50, num_swaps=199)
    assert alone.p_value == pytest.approx(2 / 200) == smallest_p(15, 199)


def test_groups_of_one_clip_are_clips():
    first, other = right_or_wrong([1, 0, 0, 0, 0, 0, 0, 1, 0, 1]), right_or_wrong([1, 1, 1, 1, 1, 1, 1, 0, 1, 1])
    found = difference([first], [other], "accuracy", seed=0, groups_N=torch.arange(10), num_resamples=20)
    assert found.p_value == pytest.approx(binomtest(7, 8).pvalue)


def test_equal_predictions_differ_by_nothing():
    one = right_or_wrong([1, 0, 1, 1, 0, 1] * 5)
    found = difference([one, one], [one, one], "mer2023", seed=0, num_resamples=20, num_swaps=99)
    assert (found.mean, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_swapped_scores_are_those_of_predictions_swapped_by_hand():
    one, two = outcome([0, 1, 2, 2, 1, 0, 0], shift=0.5), outcome([0, 0, 2, 0, 1, 2, 1], shift=-1.0)
    unknown = torch.tensor([False, True, False, False, False, False, False])
    one.label_N[unknown] = two.label_N[unknown] = -1
    one.value_labels["valence"][3] = two.value_labels["valence"][3] = torch.nan
    from_two_RN = torch.rand(6, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    together = swapped_scores(one, two, from_two_RN)
    assert "mer2023" in together and "uar" in together
    for number, from_two_N in enumerate(from_two_RN):
        by_hand = Outcome(
            one.label_N,
            torch.where(from_two_N, two.predicted_N, one.predicted_N),
            one.value_labels,
            {"valence": torch.where(from_two_N, two.values["valence"], one.values["valence"])},
            3,
        )
        for name, value in score(by_hand).items():
            assert together[name][number].item() == pytest.approx(value, abs=1e-9)


def test_only_the_same_labels_and_as_many_seeds_pair():
    one = right_or_wrong([1, 0, 1, 1])
    assert are_paired([one], [right_or_wrong([0, 0, 0, 1])])
    assert not are_paired([one], [one, one])
    assert not are_paired([one], [take(one, torch.tensor([1, 0, 2, 3]))])


def test_holm_against_a_hand_computed_example():
    # 4 tests: 0.005 * 4 = 0.02; 0.01 * 3 = 0.03; 0.03 * 2 = 0.06; 0.04 * 1 = 0.04, raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
