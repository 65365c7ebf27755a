from pathlib import Path

import pytest
from pydantic import ValidationError
from searches import search_config
from training_corpus import TrainingCorpus

from mer_ray.core.config import identity_of
from mer_ray.tuning.config import TuneConfig
from mer_ray.tuning.draws import settle_record
from mer_ray.tuning.records import TrialRecord
from mer_ray.tuning.space import parse_space

HUBERT = {"encoder": "hubert", "layers": {"search": "subset", "of": ["low", "high"]}}
CLIP = {"encoder": "clip", "layers": {"search": "choice", "of": ["all", [-1, -2]]}}
LAYERS = {"hubert": ["low", "high"], "clip": ["first", "before", "last"]}
EMPTY = {"search": "subset", "of": ["low", "high"], "at_least": 0}
MISTYPED = {"search": "choice", "of": [{"name": "attention", "hiden": 8}, {"name": "tfn"}]}
SPACE = parse_space({"inputs": {"search": "subset", "of": [HUBERT, CLIP]}, "epochs": 3}, "train")


def test_a_trial_is_told_with_what_acted_and_the_layers_that_it_read() -> None:
    params = {"inputs.hubert": True, "inputs.hubert.layers.low": False, "inputs.hubert.layers.high": False}
    params |= {"inputs.clip": True, "inputs.clip.layers": "-1+-2"}

    settled = settle_record(TrialRecord(0, "complete", params), SPACE, LAYERS)

    assert settled.params == params | {"inputs.hubert.layers.low": True}
    assert settled.inputs == {"hubert": ["low"], "clip": ["last", "before"]}


def test_an_encoder_that_was_not_drawn_is_none_of_the_inputs() -> None:
    settled = settle_record(
        TrialRecord(0, "failed", {"inputs.hubert": False, "inputs.clip": True, "inputs.clip.layers": "all"}), SPACE, LAYERS
    )

    assert settled.inputs == {"clip": ["all"]}


def test_streams_of_one_encoder_are_read_together() -> None:
    space = parse_space(
        {"inputs": [{"encoder": "hubert", "stream": one, "layers": [layer]} for one, layer in (("a", "low"), ("b", "high"))]}
        | {"epochs": {"search": "int", "low": 1, "high": 3}},
        "train",
    )

    assert settle_record(TrialRecord(0, "complete", {"epochs": 2}), space, LAYERS).inputs == {"hubert": ["low", "high"]}


def test_a_trial_that_still_runs_stays_as_it_is() -> None:
    running = TrialRecord(0, "running", {})

    assert settle_record(running, SPACE, LAYERS) is running


@pytest.mark.parametrize(
    ("train", "more", "message"),
    [
        ({"store": {"search": "choice", "of": ["a", "b"]}}, {}, "train: store: is the same for all trials, and cannot be searched"),
        ({"num_workers": [1, 2]}, {}, "train: num_workers: [1, 2]: a trial begins anew when a worker dies; name one number"),
        ({"num_parallel_fits": 2}, {}, "train: num_parallel_fits: trials run side by side"),
        ({"protocol": {"name": "folds"}}, {}, "train: protocol.test_folds: required; name the folds that the search never looks at"),
        ({"protocol": {"name": "splits", "dev": None}}, {}, "train: protocol.dev: required; trials are scored on it"),
        ({"protocol": {"name": "splits", "test": []}}, {}, "train: protocol.test: required; name the split that judges the best"),
        ({"inputs": [{"encoder": {"search": "choice", "of": ["a", "b"]}}]}, {}, "inputs: encoder: search whole inputs"),
        ({"inputs": [{"encoder": "tone", "layers": EMPTY}]}, {}, "inputs: tone: layers: at_least: 0 would leave an input without layers"),
        ({"out": "x"}, {}, "train.out: belongs to the search; leave it out here"),
        ({"dropuot": 0.1}, {}, "train: dropuot: unknown key"),
        (
            {"model": {"search": "choice", "of": [{"name": "attention", "hiden": 8}, {"name": "tfn"}]}},
            {},
            "train: model.hiden: unknown key; did you mean 'hidden'?",
        ),
        (
            {},
            {"objectives": ["valence_mse"], "train.values": []},
            "objectives: 'valence_mse' is not a metric of this task; allowed: w",
        ),
        ({}, {"objectives": ["parameters"]}, "objectives: the first is a metric that announces the best"),
        (
            {},
            {"objectives": ["uar", "parameters"], "pruner": {"name": "asha"}},
            "pruner: a trial with several objectives has no",
        ),
        ({}, {"starts": [{"learning_rat": 0.01}]}, "starts.0: nothing is searched at 'learning_rat'; did you mean 'learning_rate'?"),
        ({}, {"budget": {"usd": 5}}, "budget.usd: needs price_per_gpu_hour"),
        ({}, {"storage": "mysql://host"}, "'mysql://host': allowed: journal:PATH, sqlite:PATH, postgresql://"),
        ({}, {"storage": "postgresql://me:secret@host/db", "study": "s"}, "holds a password"),
        ({}, {"storage": "postgresql://me:se/cret@host/db", "study": "s"}, "holds a password"),
        ({}, {"storage": "postgresql://me@host/db?password=secret", "study": "s"}, "holds a password"),
        ({}, {"final_seeds": [1, 1]}, "names one twice"),
        ({}, {"final_seeds": [2**31]}, "less than or equal to 2147483647"),
        ({}, {"storage": "postgresql://me@host/db"}, "study: a database holds many searches; name this one"),
    ],
)
def test_what_cannot_be_searched_is_told_when_the_config_is_read(
    tmp_path: Path, train: dict[str, object], more: dict[str, object], message: str
) -> None:
    changes = {key: value for key, value in more.items() if not key.startswith("train.")}
    with pytest.raises(ValidationError) as caught:
        search_config(TrainingCorpus(tmp_path, []), train={**train, **({"values": []} if "train.values" in more else {})}, **changes)

    assert message in str(caught.value)


def test_a_search_is_the_same_elsewhere_and_with_plug_ins_of_the_same_content(tmp_path: Path) -> None:
    def identity(folder: str, text: str, **train: object) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "mean.py"
        file.write_text(text)
        plugin = {"name": "plugin", "file": str(file), "class": "MeanConfig"}
        model = {"search": "choice", "of": [{"name": "early_fusion"}, plugin]}
        return identity_of(search_config(TrainingCorpus(tmp_path / folder, []), train={"model": model, "allow_plugins": True, **train}))

    text = (Path(__file__).parents[2] / "plugins" / "mean_model.py").read_text()

    assert identity("here", text) == identity("there", text, precision="float32")
    assert identity("here", text) != identity("here", text + "# changed\n")
    assert identity("here", text) != identity("here", text, epochs=4)


def test_a_start_that_is_read_from_a_file_is_what_the_file_says(tmp_path: Path) -> None:
    def identity(name: str, rate: float) -> str:
        (tmp_path / name).write_text(f"learning_rate: {rate}\n")
        return identity_of(search_config(TrainingCorpus(tmp_path, []), starts=[{"config": str(tmp_path / name)}]))

    assert identity("one.yaml", 0.002) == identity("other.yaml", 0.002)
    assert identity("one.yaml", 0.003) != identity("other.yaml", 0.002)


def test_what_is_the_same_for_all_trials_is_not_searched_as_a_part_of_a_whole(tmp_path: Path) -> None:
    train = dict(search_config(TrainingCorpus(tmp_path, [])).train or {})
    whole = {"search": "choice", "of": [{**train, "num_workers": 2}, {**train, "num_workers": 3}]}

    with pytest.raises(ValidationError, match="train: holds what is the same for all trials, and cannot be searched as a whole"):
        TuneConfig.model_validate({"out": "x", "train": whole})
    with pytest.raises(ValidationError, match="selftrain: train: holds what is the same for all trials"):
        TuneConfig.model_validate({"out": "x", "selftrain": {"train": whole, "teachers": [{"name": "a", "inputs": train["inputs"]}]}})
