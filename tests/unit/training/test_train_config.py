import pytest

from mer_ray.core.config import identity_of, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.training import TrainConfig

BASE = {"manifest": "m.parquet", "store": "store", "out": "run", "inputs": [{"encoder": "tone"}]}


def make(**changes):
    return parse_config(TrainConfig, BASE | changes, "train.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"early_stopping": {"metric": "uar"}}, "early_stopping needs a dev set"),
        ({"select_metric": "valence_ccc"}, "select_metric: 'valence_ccc' is not a metric of this task; allowed: weighted_f1"),
        ({"candidates": [{"seeds": [1]}]}, "candidates.0: may not change seeds"),
        ({"candidates": [{"inputs.0.layers": [-1]}]}, "candidates.0: may not change inputs"),
        ({"candidates": [{}]}, "candidates.0: changes nothing"),
        ({"candidates": [{"model.dropuot": 0.1}]}, "candidates.0: model.dropuot: unknown key; did you mean 'dropout'"),
        ({"candidates": [{"epochs": 0}]}, "candidates.0: epochs: "),
        ({"candidates": [{"epochs": 3}], "protocol": {"name": "splits", "dev": None}}, "candidates are chosen on dev"),
        ({"protocol": {"name": "splits", "test": ["dev"]}}, "train, dev and test are different splits"),
        ({"protocol": {"name": "fold"}}, "did you mean 'folds'"),
        ({"seeds": [1, 1]}, "seeds: names one twice"),
        ({"inputs": []}, "inputs: "),
        ({"seeds": [2**31]}, "seeds.0: "),
        ({"seeds": [-1]}, "seeds.0: "),
        ({"epochs": 10**9}, "epochs: "),
        ({"batch_size": 2**63}, "batch_size: "),
        ({"learning_rate": float("inf")}, "learning_rate: "),
        ({"weight_decay": float("nan")}, "weight_decay: "),
        ({"value_weight": float("inf")}, "value_weight: "),
        ({"value_weight": 0, "weighting": "uncertainty"}, "value_weight: 0 leaves weighting: uncertainty nothing to learn from values"),
        ({"class_weights": {"happy": float("inf")}}, "class_weights"),
        ({"model": {"name": "attention", "hidden": 10**9}}, "model.hidden: "),
    ],
)
def test_a_wrong_config_says_what_to_mend(changes, message):
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    assert message in str(caught.value)


def test_a_candidate_is_the_config_with_its_changes():
    config = make(candidates=[{"model.dropout": 0.5, "learning_rate": 0.01}, {"epochs": 3}])
    first = config.candidate(0)
    assert (first.model.dropout, first.learning_rate, first.epochs, first.candidates) == (0.5, 0.01, config.epochs, [])
    assert config.candidate(1).epochs == 3 and config.candidate(None).epochs == config.epochs


def test_where_and_how_fast_are_no_part_of_the_identity():
    config = make()
    same = make(out="elsewhere", store="other", num_workers=3, device="cpu", precision="float32", checkpoint_interval_s=0)
    assert identity_of(config) == identity_of(same)
    assert identity_of(config) != identity_of(make(seeds=[1]))


def test_a_test_split_may_not_be_called_dev_beside_another_dev():
    """Its predictions would take the place of dev's, and the temperature would be fitted on test."""
    with pytest.raises(ConfigError, match="rename the test split 'dev'"):
        parse_config(TrainConfig, {**BASE, "protocol": {"name": "splits", "dev": "test", "test": ["dev"]}}, "test")
