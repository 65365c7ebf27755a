from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from mer_ray.core.config import Config, apply_overrides, dump_plain, identity_of, load_yaml, parse_config, where_or_how_fast
from mer_ray.core.errors import ConfigError


class Red(Config):
    name: Literal["red"] = "red"
    depth: int = 3


class Blue(Config):
    name: Literal["blue"] = "blue"
    mode: Literal["fast", "exact"] = "fast"


class Inner(Config):
    rate: float = Field(1.0, gt=0)
    folder: Path = where_or_how_fast(Path("x"))


class Outer(Config):
    colours: tuple[Annotated[Red | Blue, Field(discriminator="name")], ...] = ()
    inner: Inner = Inner()
    needed: int


def message(data: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(Outer, data, "c.yaml")
    return str(caught.value)


def test_a_wrong_key_names_its_path_and_the_nearest_name():
    assert message({"needed": 1, "inner": {"rat": 2}}).startswith(
        "c.yaml: inner.rat: unknown key; did you mean 'rate'? Allowed: rate, folder"
    )


def test_a_wrong_key_inside_a_family_member_has_the_path_that_the_user_wrote():
    text = message({"needed": 1, "colours": [{"name": "red"}, {"name": "red", "dpth": 2}]})
    assert text == "c.yaml: colours.1.dpth: unknown key; did you mean 'depth'? Allowed: name, depth"


def test_a_wrong_member_names_the_choices():
    assert (
        message({"needed": 1, "colours": [{"name": "reed"}]})
        == "c.yaml: colours.0.name: unknown choice 'reed'; did you mean 'red'? Allowed: red, blue"
    )


def test_a_member_without_a_name_says_which_key_it_needs():
    assert message({"needed": 1, "colours": [{}]}) == "c.yaml: colours.0: needs the key name. Allowed: red, blue"


def test_a_mistyped_key_of_a_members_name_is_named():
    expected = "c.yaml: colours.0: needs the key name; did you mean 'name' by 'nmae'? Allowed: red, blue"
    assert message({"needed": 1, "colours": [{"nmae": "red"}]}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"inner": {"rate": "loud"}}, "inner.rate: input should be a valid number, not 'loud'"),
        ({"colours": [{"name": "red", "depth": 2.5}]}, "colours.0.depth: input should be a valid integer, not 2.5"),
    ],
)
def test_a_value_that_is_no_number_is_named_once(change: dict, expected: str):
    assert message({"needed": 1, **change}) == f"c.yaml: {expected}"


def test_a_wrong_literal_names_the_choices():
    assert message({"needed": 1, "colours": [{"name": "blue", "mode": "fsat"}]}) == (
        "c.yaml: colours.0.mode: 'fsat' is not allowed; did you mean 'fast'? Allowed: fast, exact"
    )


def test_all_faults_come_at_once():
    lines = message({"inner": {"rate": -1}, "x": 1}).splitlines()
    assert len(lines) == 3
    assert any("needed: required, but missing" in line for line in lines)
    assert any("inner.rate: input should be greater than 0, not -1" in line for line in lines)


def test_overrides_reach_nested_keys_and_list_items():
    data = {"colours": [{"name": "red"}], "needed": 0}
    changed = apply_overrides(data, ["needed=7", "inner.rate=2.5", "colours.0.depth=9"])
    config = parse_config(Outer, changed, "c.yaml")
    assert (config.needed, config.inner.rate, config.colours[0].depth) == (7, 2.5, 9)
    assert data == {"colours": [{"name": "red"}], "needed": 0}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("needed", "write key.sub=value"),
        ("=1", "write key.sub=value"),
        ("colours.1.depth=1", "colours is a list of 1: write colours.0 to colours.0"),
        ("colours.².depth=1", "colours is a list of 1: write colours.0 to colours.0"),
        ("needed.deep=1", "needed is 0, which has no parts"),
        ("needed=[1", "not valid YAML"),
        ("needed=2024-99-99", "not valid YAML"),
        ("needed={b: 1, b: 2}", "the key 'b' is there twice"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override: str, expected: str):
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"colours": [{"name": "red"}], "needed": 0}, [override])
    assert expected in str(caught.value)


def test_an_empty_list_has_no_range_to_offer():
    with pytest.raises(ConfigError, match="colours is an empty list"):
        apply_overrides({"colours": []}, ["colours.0.depth=1"])


def test_the_identity_leaves_out_where_and_how_fast():
    assert identity_of(Outer(needed=1)) == identity_of(Outer(needed=1, inner=Inner(folder=Path("elsewhere"))))
    assert identity_of(Outer(needed=1)) != identity_of(Outer(needed=1, inner=Inner(rate=2)))
    assert identity_of(Outer(needed=1)) != identity_of(Outer(needed=1), weights_digest="abc")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n", "holds list"),
        ("a: [1\n", "not valid YAML"),
        ("a: 2024-99-99\n", "not valid YAML"),
        ("a: !!bool x\n", "not valid YAML"),
        ("", "holds NoneType"),
        ("a: {b: 1, b: 2}\n", "the key 'b' is there twice"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str, expected: str):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=expected):
        load_yaml(path)


def test_a_merged_key_may_be_replaced_in_any_order(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("base: &base {v: 1, w: 1}\nx: {y: {a: &a {<<: *base, v: 2}}}\nb: {<<: *a, w: 3}\n")
    data = load_yaml(path)
    assert data["x"]["y"]["a"] == {"v": 2, "w": 1}
    assert data["b"] == {"v": 2, "w": 3}


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such config file"):
        load_yaml(tmp_path / "absent.yaml")


def test_a_word_where_a_list_is_needed():
    class Listed(Config):
        names: tuple[str, ...]

    with pytest.raises(ConfigError, match=r"names: a list is needed, in brackets: \[...\], not 'spectral'"):
        parse_config(Listed, {"names": "spectral"}, "test")


def test_an_override_changes_one_place_of_what_aliases_share():
    shared = {"hidden": 8}
    data = {"steps": [{"model": shared}, {"model": shared}]}

    changed = apply_overrides(data, ["steps.1.model.hidden=32"])

    assert changed == {"steps": [{"model": {"hidden": 8}}, {"model": {"hidden": 32}}]}
    assert data == {"steps": [{"model": {"hidden": 8}}, {"model": {"hidden": 8}}]}


def test_a_path_that_is_no_text_is_written():
    assert yaml.safe_load(dump_plain({"out": "w\udcff", "who": "Zoë"})) == {"out": "w\udcff", "who": "Zoë"}
