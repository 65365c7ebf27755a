from typer.testing import CliRunner

from mer_ray.cli import app
from mer_ray.core.config import dump_yaml
from mer_ray.selftraining.warnings import warnings_of

ROW = {"split": "test", "difference": -0.1, "interval": [-0.2, -0.05], "hurts": True}
ROUND = {"of": "vote", "first": "round 0", "other": "round 1"}
VOTE = {"rule": "prior_aware", "prior": "train"}


def facts(**changes):
    return {
        "metric": "uar",
        "selection": {"prior": "em"},
        "compared": [],
        "equal_steps": None,
        "votes": [],
        "rounds": [{"number": 0, "pseudo": None}],
        **changes,
    }


def test_rounds_and_votes_that_hurt_are_named_with_their_interval():
    found = warnings_of(facts(compared=[ROUND | ROW], votes=[VOTE | ROW, VOTE | ROW | {"hurts": False}]))
    assert found == [
        "round 1 hurts vote on test: uar -0.100 (95 % interval -0.200 to -0.050) against round 0",
        "the vote prior_aware hurts on test: uar -0.100 (95 % interval -0.200 to -0.050) against the mean of the same models",
    ]
    assert warnings_of(facts()) == []


def test_a_class_without_pseudo_labels_is_named():
    found = warnings_of(facts(rounds=[{"number": 1, "pseudo": {"thresholds": {"sad": None, "happy": 0.9}}}]))
    assert found == ["round 1: no threshold of sad reaches the precision on dev, so it got no pseudo-label"]


def test_an_estimated_prior_that_fails_on_dev_is_named():
    pseudo = {"thresholds": {}, "prior_error_on_dev": 0.3}
    (found,) = warnings_of(facts(rounds=[{"number": 1, "pseudo": pseudo}]))
    assert found.startswith(
        "round 1: the estimated shares of classes cannot be believed: on dev, where they are known, the same estimate is off by 30%"
    )
    assert warnings_of(facts(rounds=[{"number": 1, "pseudo": pseudo}], selection={"prior": "train"})) == []


def test_the_command_shows_its_plan_and_a_config_that_it_reads_back(shifted, tmp_path):
    path = tmp_path / "selftrain.yaml"
    path.write_text(dump_yaml(shifted.config(tmp_path / "out", train={"seeds": [0, 1]}, compare_equal_steps=True)))
    result = CliRunner().invoke(app, ["selftrain", str(path), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "up to 12" in result.output
    shown = CliRunner().invoke(app, ["selftrain", str(path), "--print-config"])
    assert shown.output.strip() == path.read_text().strip()
    assert not (tmp_path / "out").exists()
