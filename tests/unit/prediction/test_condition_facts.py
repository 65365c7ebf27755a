"""The mean of a gate over the clips in which it is a choice."""

import pyarrow as pa
import pytest

from mer_ray.prediction.condition_facts import mean_facts, num_affected
from mer_ray.prediction.prediction_table import PRIOR

USED = ["audio+vision", "audio+vision", "audio", "vision", PRIOR]


def table(gates, used=USED) -> pa.Table:
    return pa.table({"used": used, "model_guide_gate": pa.array(gates, pa.float32())})


def test_clips_that_lack_an_input_do_not_count():
    clean = table([0.2, 0.4, 1.0, 0.0, None])
    found = mean_facts(clean, clean, is_removal=False)["guide_gate"]
    assert found["mean"] == pytest.approx(0.3) and found["num_clips"] == 2 and found["only_complete"] and not found["is_fixed"]
    assert found["change"] is None
    assert 0.2 - 1e-6 <= found["interval"][0] <= 0.3 <= found["interval"][1] <= 0.4 + 1e-6


def test_what_was_taken_away_leaves_no_choice():
    deaf = table([0.0, 0.0, None, 0.0, None], used=["vision", "vision", PRIOR, "vision", PRIOR])
    clean = table([0.2, 0.4, 1.0, 0.0, None])
    found = mean_facts(deaf, clean, is_removal=True)["guide_gate"]
    assert (found["mean"], found["num_clips"], found["is_fixed"]) == (0.0, 2, True)
    assert not mean_facts(table([0.1, 0.4, 0.0, 0.0, None]), clean, is_removal=True)["guide_gate"]["is_fixed"]


def test_all_clips_count_where_none_is_complete_or_all_are():
    gates, parted = [0.0, 1.0], ["audio", "vision"]
    for used in (parted, ["audio", "audio"]):
        one = table(gates, used)
        found = mean_facts(one, one, is_removal=False)["guide_gate"]
        assert (found["mean"], found["num_clips"], found["only_complete"]) == (0.5, 2, False)


def test_a_change_is_that_of_single_clips():
    clean, noisy = table([0.2, 0.8, 1.0, 0.0, None]), table([0.1, 0.6, 1.0, 0.0, None])
    change = mean_facts(noisy, clean, is_removal=False)["guide_gate"]["change"]
    assert change["mean"] == pytest.approx(-0.15) and change["interval"] == pytest.approx([-0.2, -0.1])


def test_a_condition_concerns_clips_that_have_what_it_degrades():
    clean = table([0.0] * 5).append_column("clip_id", [list("abcde")])
    noisy = clean.append_column("snr_db", [pa.array([5.0, None, 5.0, None, None], pa.float32())])
    blur, noise = {"modality": "vision", "snr_db": None}, {"modality": "audio", "snr_db": 5.0}
    assert num_affected(blur, clean, clean, list("abcde")) == 3 and num_affected(blur, clean, clean, list("ace")) == 1
    assert num_affected(noise, noisy, clean, list("abcde")) == 2, "a silent clip got no noise"
