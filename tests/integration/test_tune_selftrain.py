"""A search over self-trainings: thresholds and weights of pseudo-labels, scored on dev, judged on test."""

import json

import pyarrow.parquet as pq
import pytest
import ray
import yaml
from selftrain_corpus import make_shifted

from mer_ray.selftraining.config import SelftrainConfig
from mer_ray.selftraining.selftrain import selftrain
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.draws import sample_draws
from mer_ray.tuning.ray_group import SharedTrials
from mer_ray.tuning.tune import tune

pytestmark = pytest.mark.ray


def test_thresholds_are_searched_and_the_best_goes_into_selftrain(ray_cluster, tmp_path):
    plain = (
        make_shifted(tmp_path / "corpus")
        .config(tmp_path / "x")
        .model_dump(mode="json", exclude={"out", "selection", "student", "max_rounds"})
    )
    del plain["train"]["out"]
    searched = {
        **plain,
        "max_rounds": 2,
        "selection": {"threshold": {"search": "float", "low": 0.4, "high": 0.95}},
        "student": {"pseudo_weight": {"search": "float", "low": 0.1, "high": 1.0}},
    }
    config = TuneConfig.model_validate(
        {
            "out": tmp_path / "search",
            "selftrain": searched,
            "starts": [{"selection.threshold": 0.9, "student.pseudo_weight": 1.0}],
            "sampler": {"name": "random"},
            "budget": {"trials": 4},
            "final_seeds": [0],
        }
    )

    summary = tune(config)
    trials = pq.read_table(config.out / "trials.parquet").to_pylist()
    values = yaml.safe_load((config.out / "best.yaml").read_text())
    best = SelftrainConfig.model_validate({**values, "out": str(tmp_path / "again")})
    again = selftrain(
        best.model_copy(update={"out": tmp_path / "again", "train": best.train.model_copy(update={"out": tmp_path / "again"})})
    )

    assert summary.facts["counts"]["complete"] + summary.facts["counts"]["pruned"] == 4
    assert json.loads(trials[0]["params"]) == {"selection.threshold": 0.9, "student.pseudo_weight": 1.0}
    assert all(len(json.loads(trial["curve"])) <= 3 for trial in trials)
    scores = again.facts["rounds"][again.facts["best_round"]]["scores"]
    metric = best.train.select_metric
    assert scores[summary.facts["final"]["split"]]["vote"][metric] == pytest.approx(summary.facts["final"]["mean"], abs=1e-6)
    assert scores["dev"]["vote"][metric] == pytest.approx(summary.facts["best"]["values"][metric], abs=1e-6)


def test_a_group_trains_itself_as_a_single_worker_does(ray_cluster, tmp_path):
    scores, corpus = {}, make_shifted(tmp_path / "corpus")
    # Without dropout groups and single workers differ by rounding only.
    model = {"name": "attention", "hidden": 16, "dropout": 0.0}
    for num_workers in (1, 2):
        config = corpus.config(tmp_path / "x", {"num_workers": num_workers, "model": model}, teachers=[{"name": "both"}])
        plain = config.model_dump(mode="json", exclude={"out"})
        del plain["train"]["out"]
        plain["selection"] = {"threshold": {"search": "float", "low": 0.4, "high": 0.6}}
        search = TuneConfig.model_validate({"out": tmp_path / "search", "selftrain": plain})
        (drawn,) = sample_draws(search.space, search.seed, 1)
        trials = SharedTrials(ray.put(search.target.read(drawn)), tmp_path / "scratch")
        steps = list(trials.run(search.target.parse(drawn)))
        assert [step.number for step in steps] == [1, 2]
        scores[num_workers] = [next(iter(step.scores.values())) for step in steps]

    assert scores[2] == pytest.approx(scores[1], abs=0.02)
