import pytest
import torch

from mer_ray.objectives import Outcome, intervals, score
from mer_ray.objectives.bootstrap import resampled_means
from mer_ray.objectives.metrics import resampled_scores, take


def outcome(num_clips=200, accuracy=0.7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label_N = torch.arange(num_clips) % 4
    hit_N = torch.rand(num_clips, generator=generator) < accuracy
    valence_N = torch.arange(num_clips) % 7 - 3.0
    noise_N = torch.randn(num_clips, generator=generator)
    return Outcome(label_N, torch.where(hit_N, label_N, (label_N + 1) % 4), {"valence": valence_N}, {"valence": valence_N + noise_N}, 4)


def test_intervals_hold_the_score_and_repeat_with_the_seed():
    found = intervals([outcome()], seed=3)
    for name, value in score(outcome()).items():
        low, high = found[name]
        assert low < value < high
    assert intervals([outcome()], seed=3) == found
    assert intervals([outcome()], seed=4) != found


def test_the_width_is_that_of_a_proportion():
    low, high = intervals([outcome()], seed=0, num_resamples=4000)["accuracy"]
    accuracy = score(outcome())["accuracy"]
    expected = 2 * 1.96 * (accuracy * (1 - accuracy) / 200) ** 0.5
    assert high - low == pytest.approx(expected, rel=0.1)


def test_more_clips_give_a_narrower_interval_and_seeds_are_averaged():
    wide = intervals([outcome(50)], seed=0)["weighted_f1"]
    narrow = intervals([outcome(800)], seed=0)["weighted_f1"]
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) / 2
    first, second = outcome(seed=1), outcome(seed=2)
    low, high = intervals([first, second], seed=0)["accuracy"]
    assert low < (score(first)["accuracy"] + score(second)["accuracy"]) / 2 < high


def test_resampling_all_at_once_is_scoring_each_resample():
    one = outcome(40)
    uniform_RN = torch.rand(25, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = resampled_scores(one, uniform_RN)
    for number, row_N in enumerate((uniform_RN * 40).long()):
        alone = score(
            Outcome(
                one.label_N[row_N],
                one.predicted_N[row_N],
                {"valence": one.value_labels["valence"][row_N]},
                {"valence": one.values["valence"][row_N]},
                4,
            )
        )
        for name, value in alone.items():
            assert together[name][number].item() == pytest.approx(value, abs=1e-9)


def width_of_accuracy(one, groups_N=None):
    low, high = intervals([one], seed=0, num_resamples=200, groups_N=groups_N)["accuracy"]
    return high - low


def emotions_of(one):
    return Outcome(one.label_N, one.predicted_N, {}, {}, one.num_classes)


def test_groups_of_one_clip_are_clips():
    one = emotions_of(outcome(100))
    assert width_of_accuracy(one, torch.arange(100)) == pytest.approx(width_of_accuracy(one), rel=0.2)


def test_copies_of_a_clip_in_one_group_say_no_more_than_the_clip():
    """Twenty clips, each ten times: drawn as clips they pass for two hundred, drawn as groups they are twenty."""
    few = emotions_of(outcome(20))
    rows = torch.arange(20).repeat_interleave(10)
    copies = take(few, rows)
    assert width_of_accuracy(copies, rows) == pytest.approx(width_of_accuracy(few), rel=0.2)
    assert width_of_accuracy(copies) < width_of_accuracy(copies, rows) / 2


def test_emotions_of_drawn_groups_are_scored_alike_with_and_without_values():
    random = torch.Generator().manual_seed(5)
    label_N, predicted_N = (torch.randint(-1, 3, (60,), generator=random), torch.randint(0, 3, (60,), generator=random))
    groups_N = torch.randint(3, 12, (60,), generator=random)
    value_N = torch.randn(60, generator=random)
    both = Outcome(label_N, predicted_N, {"valence": value_N}, {"valence": value_N + 1}, 3)
    emotion = Outcome(label_N, predicted_N, {}, {}, 3)
    with_values, alone = (resampled_means([one], seed=2, num_resamples=40, groups_N=groups_N) for one in (both, emotion))
    assert set(alone) == {"weighted_f1", "macro_f1", "uar", "accuracy"}
    for name, score_R in alone.items():
        assert torch.allclose(score_R, with_values[name], equal_nan=True)
