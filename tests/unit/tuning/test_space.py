from datetime import date

import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.tuning.space import Dimension, find_mappings, parse_space, possible_values

RAW = {
    "epochs": 4,
    "learning_rate": {"search": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "model": {
        "search": "choice",
        "of": [{"name": "attention", "hidden": {"search": "int", "low": 16, "high": 64, "step": 16}}, {"name": "tfn"}],
    },
    "inputs": [{"encoder": "hubert", "layers": {"search": "subset", "of": ["l1", "l2", "l3"]}}],
}


def test_the_space_names_every_parameter_by_its_path_and_says_which_only_some_trials_have() -> None:
    dimensions = parse_space(RAW, "train").dimensions

    assert list(dimensions) == [
        *[f"inputs.hubert.layers.l{number}" for number in (1, 2, 3)],
        "learning_rate",
        "model",
        "model.attention.hidden",
    ]
    assert [name for name, one in dimensions.items() if one.is_conditional] == ["model.attention.hidden"]
    assert dimensions["model"].options == ("attention", "tfn")


def test_parameters_are_in_one_order_whatever_that_of_the_keys() -> None:
    turned = dict(reversed(RAW.items()))

    assert list(turned) != list(RAW)
    assert list(parse_space(turned, "train").dimensions) == list(parse_space(RAW, "train").dimensions)


def test_what_stands_inside_an_option_is_drawn_only_with_it() -> None:
    space = parse_space(RAW, "train")
    asked: list[str] = []

    def draw(dimension: Dimension) -> object:
        asked.append(dimension.name)
        return {"learning_rate": 0.001, "model": "tfn"}.get(dimension.name, True)

    filled = space.fill(draw)

    assert filled["model"] == {"name": "tfn"}
    assert filled["epochs"] == 4
    assert filled["inputs"] == [{"encoder": "hubert", "layers": ["l1", "l2", "l3"]}]
    assert "model.attention.hidden" not in asked


def test_a_subset_with_too_few_drawn_gets_the_first_others_and_the_trial_is_told_with_them() -> None:
    raw = {"layers": {"search": "subset", "of": [1, 2, 3], "at_least": 2}}
    space = parse_space(raw, "train")
    params = {"layers.1": False, "layers.2": False, "layers.3": True}

    assert space.fill(lambda dimension: params[dimension.name]) == {"layers": [1, 3]}
    assert space.settle(params) == {"layers.1": True, "layers.2": False, "layers.3": True}


def test_elements_of_a_subset_may_hold_searched_values_of_their_own() -> None:
    element = {"encoder": "clip", "layers": {"search": "choice", "of": ["all", [-1]]}}
    space = parse_space({"inputs": {"search": "subset", "of": [element, {"encoder": "hubert"}]}}, "train")
    drawn = {"inputs.clip": True, "inputs.hubert": False, "inputs.clip.layers": "-1"}

    assert space.fill(lambda dimension: drawn[dimension.name]) == {"inputs": [{"encoder": "clip", "layers": [-1]}]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"search": "flaot", "low": 0, "high": 1},
            "x.search: unknown choice 'flaot'; did you mean 'float'? Allowed: float, int, choice, subset",
        ),
        ({"search": "float", "low": 1, "high": 1}, "low: 1 is not below high: 1"),
        ({"search": "float", "low": 0, "high": 1, "log": True}, "log: needs low above 0, not 0"),
        ({"search": "float", "low": 1, "high": 2, "log": True, "step": 0.1}, "step: does not go with log"),
        ({"search": "int", "low": 1.5, "high": 4}, "x.low: input should be a valid integer"),
        ({"search": "float", "lo": 1, "high": 4}, "x.lo: unknown key; did you mean 'low'?"),
        ({"search": "choice", "of": [1]}, "x.of"),
        ({"search": "choice", "of": [{"name": "a"}, {"name": "a"}]}, "x: two of its values are called 'a'"),
        ({"search": "choice", "of": [0, False]}, "x: two of its values are called 'False'"),
        ({"search": "choice", "of": [1, 1.0]}, "x: two of its values are called '1.0'"),
        ({"search": "choice", "of": [float("nan"), 1]}, "x: nan cannot be an option"),
        ({"search": "choice", "of": [date(2024, 1, 1), 1]}, "x: datetime.date(2024, 1, 1) cannot be an option"),
        ({"search": "int", "low": 32, "high": 100, "step": 32}, "step: 100 is not 32 plus a multiple of 32; set high: 96"),
        ({"search": "float", "low": 0, "high": 1, "step": 5}, "step: 1 is not 0 plus a multiple of 5; lower step"),
        ({"search": "subset", "of": [1, 2], "at_least": 3}, "at_least: 3 of 2 values"),
        (3, "nothing is searched"),
    ],
)
def test_a_searched_value_that_is_not_well_formed_is_one_clear_line(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match="train") as caught:
        parse_space({"x": value}, "train")

    assert message in str(caught.value)


def test_known_good_settings_are_checked_and_lists_stand_for_subsets() -> None:
    space = parse_space(RAW, "train")

    expanded = space.expand_start({"learning_rate": 0.001, "inputs.hubert.layers": ["l2"]}, "starts.0")

    assert expanded == {
        "learning_rate": 0.001,
        "inputs.hubert.layers.l1": False,
        "inputs.hubert.layers.l2": True,
        "inputs.hubert.layers.l3": False,
    }


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"learnin_rate": 0.1}, "starts.0: nothing is searched at 'learnin_rate'; did you mean 'learning_rate'?"),
        ({"learning_rate": 1.0}, "starts.0: learning_rate: 1.0 is not a number from 0.0001 to 0.01"),
        ({"model": "lmf"}, "starts.0: model: 'lmf' is not among attention, tfn"),
        ({"model.attention.hidden": 20}, "starts.0: model.attention.hidden: 20 is not 16 plus a multiple of 16"),
        ({"inputs.hubert.layers": ["l9"]}, "starts.0: inputs.hubert.layers: 'l9' is not among l1, l2, l3"),
        ({"inputs.hubert.layers.l1": 1}, "starts.0: inputs.hubert.layers.l1: 1 is not among False, True"),
        ({"inputs.hubert.layers": "l1"}, "starts.0: inputs.hubert.layers: 'l1' is not a list of some of l1, l2, l3"),
        ({"inputs.hubert.layers": []}, "starts.0: inputs.hubert.layers: 0 values, where a trial has 1 at least"),
        ({"model": "tfn", "model.attention.hidden": 16}, "starts.0: model.attention.hidden: is drawn only with an option"),
        ({"model.attention.hidden": 16}, "starts.0: model.attention.hidden: is drawn only with an option"),
    ],
)
def test_a_known_good_setting_that_cannot_be_drawn_is_refused(start: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_space(RAW, "train").expand_start(start, "starts.0")

    assert str(caught.value).startswith(message)


def test_known_good_settings_name_layers_with_dots_and_options_that_are_lists() -> None:
    layers = {"search": "subset", "of": ["blocks.3", "blocks.4"]}
    structures = {"search": "choice", "of": [["flat"], ["flat", "deep"]]}
    space = parse_space({"layers": layers, "structures": structures}, "train")

    assert space.expand_start({"layers": ["blocks.4"], "structures": ["flat", "deep"]}, "starts.0") == {
        "layers.blocks.3": False,
        "layers.blocks.4": True,
        "structures": "flat+deep",
    }


def test_plug_ins_in_a_choice_go_by_their_class() -> None:
    plugins = [{"name": "plugin", "file": "mine.py", "class": name} for name in ("MeanConfig", "SumConfig")]

    assert parse_space({"model": {"search": "choice", "of": plugins}}, "train").dimensions["model"].options == ("MeanConfig", "SumConfig")


def test_all_values_that_may_come_to_stand_in_a_place_are_found() -> None:
    layers = {"search": "choice", "of": ["all", {"search": "subset", "of": [1, 2]}]}

    assert list(possible_values(layers)) == ["all", 1, 2]
    assert list(possible_values([{"search": "int", "low": 2, "high": 8, "step": 3}])) == [2, 5, 8]
    assert [one["encoder"] for one in find_mappings(RAW, "encoder")] == ["hubert"]


def test_the_values_of_a_config_are_read_back_where_something_is_searched() -> None:
    space = parse_space(RAW, "train")
    config = {
        "epochs": 60,
        "learning_rate": 0.005,
        "model": {"name": "attention", "hidden": 32, "dropout": 0.1},
        "inputs": [{"encoder": "clip"}, {"encoder": "hubert", "layers": ["l2"], "statistics": ["mean"]}],
    }

    assert space.read_back(config, "x.yaml") == {
        "learning_rate": 0.005,
        "model": "attention",
        "model.attention.hidden": 32,
        "inputs.hubert.layers.l1": False,
        "inputs.hubert.layers.l2": True,
        "inputs.hubert.layers.l3": False,
    }


def test_subsets_of_inputs_and_choices_of_lists_are_read_back() -> None:
    hubert = {"encoder": "hubert", "layers": {"search": "choice", "of": ["all", ["l1", "l2"]]}}
    space = parse_space({"inputs": {"search": "subset", "of": [hubert, {"encoder": "clip"}]}}, "train")

    assert space.read_back({"inputs": [{"encoder": "hubert", "layers": ["l1", "l2"]}]}, "x.yaml") == {
        "inputs.hubert": True,
        "inputs.hubert.layers": "l1+l2",
        "inputs.clip": False,
    }


def test_a_config_whose_values_cannot_be_drawn_is_refused() -> None:
    space = parse_space(RAW, "train")

    with pytest.raises(ConfigError, match=r"x.yaml: learning_rate: 0.5 is not a number from 0.0001 to 0.01"):
        space.read_back({"learning_rate": 0.5}, "x.yaml")
    with pytest.raises(ConfigError, match=r"x.yaml: has no value where something is searched: inputs.*, learning_rate, model"):
        space.read_back({"epochs": 3}, "x.yaml")


def test_defaults_stand_in_for_what_a_config_does_not_say_where_they_can_be_drawn() -> None:
    space = parse_space(RAW, "train")
    defaults = {"learning_rate": 0.001, "model": {"name": "attention", "hidden": 500}}

    found = space.read_back({"inputs": [{"encoder": "hubert", "layers": ["l1"]}]}, "x.yaml", defaults)

    assert found["learning_rate"] == 0.001
    assert found["model"] == "attention"
    assert "model.attention.hidden" not in found
    assert found["inputs.hubert.layers.l1"]
