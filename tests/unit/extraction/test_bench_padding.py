import numpy as np
import pytest

from mer_ray.bench import padding
from mer_ray.encoders._budget import BatchBudget


@pytest.fixture(autouse=True)
def few_clips(monkeypatch):
    monkeypatch.setattr(padding, "NUM_CLIPS", 600)


def test_the_figure_reaches_its_bar_and_says_on_which_lengths():
    (figure,) = padding.measure_padding()
    assert (figure.name, figure.better, figure.bar) == ("extract.padding_waste", "lower", 1.05)
    assert 1 < figure.value < 1.15  # fewer clips than the figure's differ more in length
    assert "600 clips, log-normal lengths within 2-16 s (8" in figure.note


def test_lengths_are_those_of_the_corpus():
    lengths_N = padding.draw_lengths()
    assert lengths_N.shape == (600,) and lengths_N.min() >= 2 * 16_000 and lengths_N.max() <= 16 * 16_000
    assert 0.75 < (lengths_N < 6 * 16_000).mean() < 0.95 and len(np.unique(lengths_N)) > 550


def test_every_clip_goes_through_once_and_its_padding_is_counted(monkeypatch):
    budgets = []
    monkeypatch.setattr(padding, "BatchBudget", lambda max_units: budgets.append(BatchBudget(max_units)) or budgets[-1])
    (figure,) = padding.measure_padding()
    total = int(padding.draw_lengths().sum())
    assert [budget.real_units for budget in budgets] == [total] * len(padding.SETTINGS)
    assert figure.value == max(budget.padded_units for budget in budgets) / total


def test_shards_that_mix_lengths_would_show(monkeypatch):
    class Shuffled:
        def __init__(self, plan, config, num_actors):
            clips = [padding.Clip(str(row)) for row in range(len(plan.clips))]
            self.shards = [clips[start : start + 20] for start in range(0, len(clips), 20)]

        def __iter__(self):
            for shard in self.shards:
                yield type("Shard", (), {"clips": [type("Item", (), {"clip": clip}) for clip in shard]})

    monkeypatch.setattr(padding, "cut_shards", Shuffled)
    (figure,) = padding.measure_padding()
    assert figure.value > 1.3
