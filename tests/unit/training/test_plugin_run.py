"""A run with a model of the user: trained, recorded, resumed and read without the file."""

import json
from pathlib import Path

import pytest
from training_corpus import make_corpus

from mer_ray.core.errors import ConfigError, RunError
from mer_ray.training import train
from mer_ray.training.plan import plan_training

SAMPLE = Path(__file__).parents[2] / "plugins" / "mean_model.py"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_bytes(SAMPLE.read_bytes())
    return path


def member(file: Path, **config: object) -> dict[str, object]:
    return {"name": "plugin", "file": str(file), "class": "MeanConfig", "config": config}


def test_a_run_trains_a_plug_in_and_keeps_its_code(tmp_path: Path, file: Path):
    corpus = make_corpus(tmp_path)
    config = corpus.config("run", model=member(file, hidden=16), allow_plugins=True)
    summary = train(config)
    digest = config.model.sha256
    assert summary.facts["plugins"] == {f"{digest[:8]}-my_model.py": digest}
    assert summary.facts["model"]["sha256"] == digest and summary.facts["model"]["config"]["hidden"] == 16
    assert (config.out / "plugins" / f"{digest[:8]}-my_model.py").read_bytes() == SAMPLE.read_bytes()
    # Better than the largest class.
    assert summary.scores["test"]["mean"]["accuracy"] > 0.5
    moved = tmp_path / "moved.py"
    file.rename(moved)
    again = corpus.config("run", model=member(moved, hidden=16), allow_plugins=True)
    assert train(again).was_complete
    moved.write_text(moved.read_text() + "# another version\n")
    with pytest.raises(RunError, match="holds another run: model differ"):
        train(corpus.config("run", model=member(moved, hidden=16), allow_plugins=True))


def test_candidates_choose_between_plug_ins_and_the_packages_models(tmp_path: Path, file: Path):
    corpus = make_corpus(tmp_path)
    protocol = {"name": "splits", "train": "train", "dev": "dev", "test": ["test"]}
    candidates = [{"model": member(file, hidden=8)}, {"model": {"name": "attention", "hidden": 8}, "epochs": 1}]
    config = corpus.config("run", candidates=candidates, allow_plugins=True, protocol=protocol)
    summary = train(config)
    assert list(summary.facts["plugins"]) == [path.name for path in (config.out / "plugins").iterdir()]
    chosen = json.loads((config.out / "selection" / "splits.json").read_text())
    assert chosen["candidate"] == 0 and len(chosen["scores"]) == 2


def test_the_plan_names_the_class(tmp_path: Path, file: Path):
    corpus = make_corpus(tmp_path)
    rows = dict(plan_training(corpus.config("run", model=member(file), allow_plugins=True)).rows)
    assert rows["model"] == f"MeanConfig of {file}"
    with pytest.raises(ValueError, match="set allow_plugins: true"):
        corpus.config("run", model=member(file))


def test_code_that_fails_at_building_is_one_line(tmp_path: Path, file: Path):
    corpus = make_corpus(tmp_path)
    file.write_text(file.read_text().replace("super().__init__(streams, task)", "super().__init__(streams, task.clases)"))
    with pytest.raises(ConfigError, match=r"my_model\.py:\d+: MeanConfig\.build raised AttributeError: .*clases"):
        train(corpus.config("run", model=member(file), allow_plugins=True))
