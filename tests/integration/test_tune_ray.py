"""Searches on a real Ray: trials in actors that are used again, the best trained again, failures told."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from ray.tune.experiment import Trial as RayTrial
from ray.tune.search import Searcher
from searches import search_config
from training_corpus import TrainingCorpus, make_corpus

from mer_ray.core.errors import ClusterError, ConfigError, RunError
from mer_ray.training import TrainConfig, train
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.draws import to_training
from mer_ray.tuning.ray_searcher import StudySearcher
from mer_ray.tuning.ray_study import open_study
from mer_ray.tuning.ray_tuner import _scheduler
from mer_ray.tuning.search_data import read_search_data
from mer_ray.tuning.trials import Trainings
from mer_ray.tuning.tune import SearchSummary, tune
from mer_ray.workflow.verbs import VERBS

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TrainingCorpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), noise=1.5)


@pytest.fixture(scope="module")
def searched(corpus: TrainingCorpus, ray_cluster: None) -> tuple[TuneConfig, SearchSummary]:
    start = {"learning_rate": 0.001, "model": "early_fusion"}
    config = search_config(corpus, starts=[start], budget={"trials": 10}, pruner={"name": "asha", "reduction": 3})
    return config, tune(config)


def read_trials(folder: Path) -> list[dict]:
    return pq.read_table(folder / "trials.parquet").to_pylist()


def test_every_trial_of_the_budget_is_told_and_pruned_ones_with_their_curve(searched):
    config, summary = searched
    trials = read_trials(config.out)

    assert [trial["number"] for trial in trials] == list(range(10))
    assert {trial["state"] for trial in trials} == {"complete", "pruned"}
    for trial in trials:
        curve = json.loads(trial["curve"])
        is_complete = trial["state"] == "complete"
        # Three folds beside the test fold; the step that ended a trial is on its curve.
        assert [step for step, _ in curve] == list(range(1, 4 if is_complete else len(curve) + 1))
        assert 1 <= len(curve) <= (3 if is_complete else 2)
        assert (json.loads(trial["values"]) == {}) != is_complete
    assert summary.facts["counts"]["complete"] + summary.facts["counts"]["pruned"] == 10


def test_the_best_is_a_complete_trial_with_the_score_of_its_config(corpus, searched):
    config, summary = searched
    best, finalists = summary.facts["best"], summary.facts["finalists"]
    complete = {
        str(trial["number"]): json.loads(trial["values"])["weighted_f1"]
        for trial in read_trials(config.out)
        if trial["state"] == "complete"
    }
    promising = sorted(complete, key=lambda number: -complete[number])[: config.finalists]
    assert set(finalists) == set(promising) | ({"0"} & set(complete))
    assert finalists[str(best["number"])] == max(finalists.values()) == summary.facts["final"]["dev"]
    assert best["values"]["weighted_f1"] == complete[str(best["number"])]

    training = TrainConfig.model_validate(yaml.safe_load((config.out / "best.yaml").read_text())).model_copy(update={"seeds": [0]})
    data = read_search_data(config.train, training, "train")
    *_, last = Trainings(data).run(training)
    assert last.scores["weighted_f1"] == pytest.approx(best["values"]["weighted_f1"], abs=1e-6)


def test_the_page_of_a_search_shows_all_its_trials(searched):
    config, summary = searched
    # Complete already: the verb finds it done, and writes the page.
    tables = VERBS["tune"].run(config)

    page = (config.out / "report.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'id="mer-ray-data">(.*?)</script>', page, re.DOTALL)
    shown = json.loads(data)
    assert [row["number"] for row in shown["history"]["rows"]] == list(range(10))
    assert summary.facts["best"]["number"] in [row["number"] for row in shown["best"]]
    assert set(shown["best"][0]["inputs"]) == {"tone", "face"}
    assert [encoder["cost"] for encoder in shown["costs"]["encoders"]] == [None, None]
    assert f"page: {config.out / 'report.html'}" in tables[-1].notes


def test_best_yaml_trains_to_the_score_that_was_announced(searched, tmp_path):
    config, summary = searched
    best = TrainConfig.model_validate(yaml.safe_load((config.out / "best.yaml").read_text()))

    again = train(best.model_copy(update={"out": tmp_path / "again"}))

    assert again.scores["test"]["mean"]["weighted_f1"] == summary.facts["final"]["mean"]
    assert best.seeds == [0, 1]
    assert summary.facts["optimism"] == summary.facts["best"]["values"]["weighted_f1"] - summary.facts["final"]["mean"]


def test_no_test_clip_reaches_a_trial(searched):
    config, _ = searched
    training = TrainConfig.model_validate(yaml.safe_load((config.out / "best.yaml").read_text()))
    data = read_search_data(config.train, training, "train")
    changed = data.clips.emotion_N.copy()
    changed[data.clips.folds_N == 0] = (changed[data.clips.folds_N == 0] + 1) % 3
    data.clips.emotion_N[:], before = changed, data.clips.emotion_N.copy()
    *_, shuffled = Trainings(data).run(training)
    data.clips.emotion_N[:] = before
    *_, plain = Trainings(data).run(training)

    assert shuffled.scores["weighted_f1"] == plain.scores["weighted_f1"]
    assert (changed != before).any()


def test_a_raised_budget_goes_on_and_may_find_another_best(corpus, ray_cluster):
    plain = {"sampler": {"name": "random"}, "pruner": None, "final_seeds": [0], "finalists": 4}
    one = tune(search_config(corpus, "raised", budget={"trials": 1}, **plain))
    more = tune(search_config(corpus, "raised", budget={"trials": 4}, resume=True, **plain))

    assert one.facts["counts"]["complete"] == 1
    assert more.facts["counts"]["complete"] == 4
    assert set(more.facts["finalists"]) >= {str(one.facts["best"]["number"])}
    assert more.facts["final"]["out"].endswith(f"trial{more.facts['best']['number']}")


def test_a_search_that_is_complete_is_returned_at_once(searched):
    config, summary = searched
    again = tune(config.model_copy(update={"resume": True}))

    assert again.was_complete
    assert again.facts == summary.facts


def test_trials_that_fail_are_told_with_their_reason_and_the_search_goes_on(corpus, ray_cluster):
    rates = {"search": "choice", "of": [0.01, 1e30]}
    config = search_config(
        corpus, "some_fail", train={"learning_rate": rates}, sampler={"name": "random"}, pruner=None, max_same_failures=100
    )
    summary = tune(config)
    failed = [trial for trial in read_trials(config.out) if trial["state"] == "failed"]

    assert summary.facts["counts"] == {"complete": 6 - len(failed), "pruned": 0, "failed": len(failed)}
    assert failed
    assert all(json.loads(trial["params"])["learning_rate"] == 1e30 and "lower learning_rate" in trial["reason"] for trial in failed)


def test_the_same_failure_again_and_again_stops_the_search_with_its_reason(corpus, ray_cluster):
    train = {"learning_rate": {"search": "choice", "of": [1e30, 2e30]}, "gradient_clip": None, "model": {"name": "early_fusion"}}
    config = search_config(corpus, "all_fail", train=train, budget={"trials": 40}, max_same_failures=3)

    with pytest.raises(RunError, match=r"no trial is complete: 3 trials failed alike: .*lower learning_rate"):
        tune(config)


def test_several_objectives_have_a_front_and_no_pruning(corpus, ray_cluster):
    config = search_config(corpus, "front", objectives=["weighted_f1", "valence_mse", "parameters"], sampler={"name": "nsga2"})
    summary = tune(config)
    trials = {trial["number"]: json.loads(trial["values"]) for trial in read_trials(config.out)}

    assert summary.facts["counts"] == {"complete": 6, "pruned": 0, "failed": 0}
    front = [trials[number] for number in summary.facts["pareto"]]
    assert front
    for point in front:
        better = [
            other
            for other in trials.values()
            if other["weighted_f1"] > point["weighted_f1"]
            and other["valence_mse"] < point["valence_mse"]
            and other["parameters"] < point["parameters"]
        ]
        assert not better


def test_a_search_on_splits_scores_dev_by_the_best_epoch_as_the_run_does(corpus, ray_cluster):
    protocol = {"protocol": {"name": "splits"}, "epochs": 8, "early_stopping": {"patience": 3}}
    config = search_config(corpus, "splits", train=protocol, final_seeds=[0])
    summary = tune(config)
    scores = json.loads((Path(summary.facts["final"]["out"]) / "scores.json").read_text())["splits"]

    assert scores["dev"]["mean"]["weighted_f1"] == pytest.approx(summary.facts["best"]["values"]["weighted_f1"], abs=1e-6)
    assert summary.facts["final"]["split"] == "test"
    assert to_training(yaml.safe_load((config.out / "best.yaml").read_text())).protocol.name == "splits"


def test_trials_of_more_steps_than_were_foreseen_run_to_their_end(corpus):
    # Where epochs are searched.
    rule = _scheduler(search_config(corpus, "steps", pruner={"name": "asha"}), 2)
    trial = RayTrial("x", stub=True)
    rule.on_trial_add(None, trial)

    assert [rule.on_trial_result(None, trial, {"step": step, "objective": 0.5}) for step in (1, 2, 3, 4)] == ["CONTINUE"] * 4


def test_a_search_that_failures_stopped_goes_on_when_it_is_resumed(corpus, ray_cluster):
    train = {"learning_rate": {"search": "choice", "of": [1e30, 2e30]}, "gradient_clip": None, "model": {"name": "early_fusion"}}
    config = search_config(corpus, "fail_again", train=train, budget={"trials": 40}, max_same_failures=2, max_concurrent=1)
    for wanted in (2, 4):
        with pytest.raises(RunError, match="2 trials failed alike"):
            tune(config.model_copy(update={"resume": True}))
        assert len(read_trials(config.out)) == wanted


def test_the_median_neither_pauses_trials_nor_ends_those_whose_score_is_undefined(corpus):
    config = search_config(corpus, "median", pruner={"name": "median", "min_trials": 1}, max_concurrent=2)
    rule = _scheduler(config, 4)
    trials = [RayTrial("x", stub=True) for _ in range(3)]

    def after(trial, step, score):
        return rule.on_trial_result(None, trial, {"step": step, "objective": score})

    assert [after(trials[0], step, 0.5) for step in (1, 2)] == ["CONTINUE", "CONTINUE"]
    assert [after(trials[1], step, score) for step, score in ((1, float("nan")), (2, 0.6))] == ["CONTINUE", "CONTINUE"]
    assert after(trials[2], 1, 0.4) == "STOP"


def test_draws_that_cannot_be_trained_count_for_the_budget(tmp_path):
    config = search_config(TrainingCorpus(tmp_path, []), budget={"trials": 3}, sampler={"name": "random"})

    def refuse(drawn):
        raise ConfigError(f"not {drawn['learning_rate']}")

    with open_study(config, config.space, "same") as study:
        searcher = StudySearcher(study, refuse, lambda: False)

        assert searcher.suggest("trial") == Searcher.FINISHED
        assert [record.state for record in study.records()] == ["failed"] * 3


def test_a_trial_that_was_given_up_too_early_is_begun_anew_and_counted_once(tmp_path):
    config = search_config(TrainingCorpus(tmp_path, []), budget={"trials": 1}, sampler={"name": "random"}, max_failures=2)

    with open_study(config, config.space, "same") as study:
        searcher = StudySearcher(study, lambda drawn: drawn["learning_rate"], lambda: False)
        drawn = []
        for name in ("one", "two", "three"):
            drawn.append(searcher.suggest(name))
            # All that the budget allows are running, and one of them may be lost.
            assert searcher.suggest("more") is None
            searcher.on_worker_error(name, "its worker died", may_try_again=True)

        assert drawn[0] == drawn[1] == drawn[2]
        assert searcher.suggest("more") == Searcher.FINISHED
        assert [(record.state, record.reason) for record in study.records()] == [("failed", "its worker died")]


def test_money_is_no_budget_without_gpus(corpus, ray_cluster):
    config = search_config(corpus, "money", budget={"trials": 2, "usd": 1}, price_per_gpu_hour=2.0)

    with pytest.raises(ConfigError, match=r"budget.usd: is for GPUs, and trials have none here"):
        tune(config)


def test_trials_on_gpus_need_one(corpus, ray_cluster):
    with pytest.raises(ClusterError, match=r"train.device: cuda, but the Ray cluster has no GPU"):
        tune(search_config(corpus, "gpus", train={"device": "cuda"}))


def test_trials_whose_worker_fails_or_dies_keep_the_reason(corpus, ray_cluster, tmp_path):
    text = (Path(__file__).parents[1] / "plugins" / "mean_model.py").read_text()
    model = {"name": "plugin", "file": str(tmp_path / "model.py")}
    reasons = {"raise KeyError('no such stream')": r"KeyError: 'no such stream'", "import os; os._exit(3)": r"worker.*(died|exit)"}
    for number, (fault, wanted) in enumerate(reasons.items()):
        begin = f"if 'ray::' in open('/proc/self/cmdline').read(): {fault}"
        fails = text.replace("-> Predictions:\n", f"-> Predictions:\n        {begin}\n")
        (tmp_path / "model.py").write_text(fails)
        train = {"allow_plugins": True, "model": {**model, "class": "MeanConfig"}}
        config = search_config(corpus, f"worker_{number}", train=train, max_failures=0, budget={"trials": 1})

        with pytest.raises(RunError, match="no trial is complete"):
            tune(config)

        (trial,) = read_trials(config.out)
        assert trial["state"] == "failed"
        assert re.search(wanted, trial["reason"])
