from mer_ray.tuning.draws import settle_record
from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.space import parse_space

HUBERT = {"encoder": "hubert", "layers": {"search": "subset", "of": ["low", "high"]}}
CLIP = {"encoder": "clip", "layers": {"search": "choice", "of": ["all", [-1, -2]]}}
SPACE = parse_space({"inputs": {"search": "subset", "of": [HUBERT, CLIP]}, "epochs": 3}, "train")


def test_a_trial_is_told_with_what_acted_and_the_layers_that_it_read() -> None:
    params = {"inputs.hubert": True, "inputs.hubert.layers.low": False, "inputs.hubert.layers.high": False}
    params |= {"inputs.clip": True, "inputs.clip.layers": "-1+-2"}

    settled = settle_record(TrialRecord(0, "complete", params), SPACE)

    assert settled.params == params | {"inputs.hubert.layers.low": True}
    assert settled.inputs == {"hubert": ["low"], "clip": ["-1", "-2"]}


def test_an_encoder_that_was_not_drawn_is_none_of_the_inputs() -> None:
    settled = settle_record(TrialRecord(0, "failed", {"inputs.hubert": False, "inputs.clip": True, "inputs.clip.layers": "all"}), SPACE)

    assert settled.inputs == {"clip": ["all"]}


def test_streams_of_one_encoder_are_read_together() -> None:
    space = parse_space(
        {"inputs": [{"encoder": "hubert", "stream": one, "layers": [layer]} for one, layer in (("a", "low"), ("b", "high"))]}
        | {"epochs": {"search": "int", "low": 1, "high": 3}},
        "train",
    )

    assert settle_record(TrialRecord(0, "complete", {"epochs": 2}), space).inputs == {"hubert": ["low", "high"]}


def test_a_trial_that_still_runs_stays_as_it_is() -> None:
    running = TrialRecord(0, "running", {})

    assert settle_record(running, SPACE) is running
