"""Plug-ins in configs: permission, faults, identity, and the way to other processes. The host is that of training."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mer_ray.core.config import dump_yaml, identity_of, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugins import plugin_files, plugins_allowed, with_copies
from mer_ray.models import PluginModelConfig
from mer_ray.training import TrainConfig

SAMPLE = Path(__file__).parents[2] / "plugins" / "mean_model.py"
BASE = {"manifest": "m.parquet", "store": "store", "out": "run", "inputs": [{"encoder": "tone"}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy of its own content, so that no test before has run it; it leaves a trace where it runs."""
    path = tmp_path / "my_model.py"
    trace = tmp_path / "trace"
    path.write_text(f"{SAMPLE.read_text()}\nwith open({str(trace)!r}, 'a') as trace:\n    trace.write('ran ')\n")
    return path


def has_run(file: Path) -> bool:
    return (file.parent / "trace").exists()


def member(file: Path, **changes: Any) -> dict[str, Any]:
    return {"name": "plugin", "file": str(file), "class": "MeanConfig", **changes}


def make(file: Path, allow: object = True, **changes: Any) -> TrainConfig:
    data = {**BASE, "model": member(file), "allow_plugins": allow, **changes}
    return parse_config(TrainConfig, data, "train.yaml")


@pytest.mark.parametrize("allow", [False, "yes", 1, None])
def test_without_permission_nothing_of_the_file_runs(file: Path, allow: object):
    with pytest.raises(ConfigError, match=rf"train\.yaml: model: runs code of {file}: set allow_plugins: true if you trust it"):
        make(file, allow)
    assert not has_run(file)


def test_permission_is_asked_before_the_file_is_opened(tmp_path: Path):
    with pytest.raises(ConfigError, match="set allow_plugins: true"):
        make(tmp_path / "nowhere.py", False)
    with pytest.raises(ConfigError, match=r"train\.yaml: model: .*nowhere\.py: no such file"):
        make(tmp_path / "nowhere.py")


def test_permission_of_one_config_is_none_for_another(file: Path):
    make(file)
    with pytest.raises(ConfigError, match="set allow_plugins: true"):
        make(file, False)


def test_a_config_alone_needs_permission_until_the_code_runs(file: Path):
    with pytest.raises(ValueError, match="set allow_plugins: true"):
        PluginModelConfig.model_validate(member(file))
    assert not has_run(file)
    with plugins_allowed():
        first = PluginModelConfig.model_validate(member(file))
    assert PluginModelConfig.model_validate(member(file)) == first


def test_candidates_need_permission_too(file: Path):
    with pytest.raises(ConfigError, match=r"candidates\.0: model: runs code of"):
        parse_config(TrainConfig, {**BASE, "candidates": [{"model": member(file)}]}, "train.yaml")
    assert not has_run(file)


def test_it_says_loudly_what_runs_once(file: Path, capsys: pytest.CaptureFixture[str]):
    config = make(file)
    make(file)
    told = capsys.readouterr().err
    assert told == f"mer-ray: warning: runs the Python code of {file} (sha256 {config.model.sha256})\n"
    assert (file.parent / "trace").read_text() == "ran "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"hiden": 3}}, "model.config.hiden: unknown key; did you mean 'hidden'? Allowed: hidden, dropout"),
        ({"config": {"hidden": 0}}, "model.config.hidden: input should be greater than or equal to 1, not 0"),
        ({"class": "MeanConfg"}, "did you mean 'MeanConfig'?"),
        ({"class": "MeanFusion"}, "class MeanFusion is no mer_ray.models.FusionModelConfig"),
        ({"clas": "MeanConfig"}, "model.clas: unknown key; did you mean 'class'?"),
        ({"sha256": "0" * 64}, "model: sha256: "),
        ({"file": "s3://bucket/model.py"}, "a local path is needed"),
    ],
)
def test_faults_are_told_with_their_dotted_path(file: Path, change: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        make(file, model=member(file) | change)
    assert message in str(caught.value) and str(caught.value).startswith("train.yaml: model")


def test_all_faults_of_the_inner_config_are_told(file: Path):
    with pytest.raises(ConfigError) as caught:
        make(file, model=member(file, config={"hiden": 3, "dropout": 2}))
    assert [line.partition(": ")[2].partition(":")[0] for line in str(caught.value).splitlines()] == [
        "model.config.hiden",
        "model.config.dropout",
    ]


def test_the_resolved_config_shows_digest_and_defaults_and_reads_back(file: Path):
    config = make(file, model=member(file, config={"hidden": 7}))
    model = config.model_dump(mode="json")["model"]
    assert model["config"] == {"hidden": 7, "dropout": 0.0} and len(model["sha256"]) == 64 and model["class"] == "MeanConfig"
    assert f"sha256: {model['sha256']}" in dump_yaml(config)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(ConfigError, match=r"model: sha256: .* take that file back, or leave sha256 out"):
        parse_config(TrainConfig, config.model_dump(mode="json"), "config.yaml")


def test_the_content_is_the_identity_and_the_path_is_not(file: Path, tmp_path: Path):
    moved = tmp_path / "elsewhere.py"
    moved.write_bytes(file.read_bytes())
    changed = tmp_path / "changed.py"
    changed.write_text(file.read_text() + "# other\n")
    identity = identity_of(make(file))
    assert identity_of(make(moved)) == identity
    assert identity_of(make(file, model=member(file, config={"hidden": 24}))) == identity
    assert identity_of(make(changed)) != identity
    assert identity_of(make(file, model=member(file, config={"hidden": 25}))) != identity


def test_candidates_change_fields_of_the_plug_in_and_go_on_with_the_file_of_then(file: Path):
    config = make(file, candidates=[{"model.config.hidden": 5}, {"model": {"name": "attention"}}])
    file.unlink()
    assert config.candidate(0).model.config == {"hidden": 5, "dropout": 0.0}
    assert config.candidate(1).model.name == "attention"
    assert config.candidate(None).model == config.model


def test_files_of_models_and_candidates_are_listed_once(file: Path, tmp_path: Path):
    other = tmp_path / "other.py"
    other.write_text(SAMPLE.read_text() + "# another\n")
    config = make(file, candidates=[{"model.config.hidden": 5}, {"model": member(other)}])
    assert [found.path for found in plugin_files(config)] == [file, other]
    assert [found.path for found in plugin_files({"of a": [config.model]})] == [file]
    assert plugin_files(parse_config(TrainConfig, BASE, "train.yaml")) == ()


def test_a_dump_can_be_read_from_the_copies(file: Path, tmp_path: Path):
    config = make(file)
    for found in plugin_files(config):
        found.write_to(tmp_path / "plugins")
    file.unlink()
    moved = with_copies({"models": [config.model_dump(mode="json")["model"]]}, tmp_path / "plugins")["models"][0]
    assert PluginModelConfig.model_validate(moved).loaded == config.model.loaded
    assert moved["file"].startswith(str(tmp_path / "plugins"))


CHILD = """
import pickle, sys
config = pickle.load(open(sys.argv[1], "rb"))
from mer_ray.core.config import identity_of
from mer_ray.core.plugins import plugin_files
assert not plugin_files(config)[0].is_running
print(identity_of(config), config.candidate(0).model.config, config.model.loaded.hidden)
"""


@pytest.mark.slow
def test_another_process_runs_the_text_where_no_file_lies(file: Path, tmp_path: Path):
    config = make(file, model=member(file, config={"hidden": 9}), candidates=[{"model.config.hidden": 4}])
    (tmp_path / "config.pickle").write_bytes(pickle.dumps(config))
    file.unlink()
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "config.pickle")], capture_output=True, text=True, check=False, timeout=120
    )
    assert child.stdout == f"{identity_of(config)} {{'hidden': 4, 'dropout': 0.0}} 9\n", child.stderr


def test_pickle_and_json_keep_the_config(file: Path):
    config = make(file)
    assert pickle.loads(pickle.dumps(config)) == config
    assert TrainConfig.model_validate_json(json.dumps(config.model_dump(mode="json"))) == config
