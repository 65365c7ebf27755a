import json
import typing
from pathlib import Path

import jsonschema
import pytest
import yaml

from mer_ray.core.config import load_yaml
from mer_ray.core.errors import ConfigError
from mer_ray.workflow.job import StepTag, job_schema, load_job
from mer_ray.workflow.verbs import VERBS

JOBS = Path(__file__).resolve().parents[3] / "jobs"

JOB = """
vars: {out: work, clips: 12, nothing: null}
steps:
  - {verb: synth, out: "${out}/corpus", num_clips: "${clips}"}
  - {verb: manifest, corpus: {name: table, path: "${out}/corpus/clips.csv"}, out: "${out}/m.parquet"}
"""


def write_job(folder: Path, text: str = JOB) -> Path:
    path = folder / "job.yaml"
    path.write_text(text)
    return path


def test_variables_fill_strings_and_keep_their_type_when_they_are_the_whole_value(tmp_path: Path):
    job = load_job(write_job(tmp_path), [])
    assert [step.verb.name for step in job.steps] == ["synth", "manifest"]
    assert job.steps[0].config.num_clips == 12
    assert str(job.steps[1].config.out) == "work/m.parquet"


def test_a_truth_value_within_a_string_is_written_as_yaml_writes_it(tmp_path: Path):
    job = load_job(write_job(tmp_path), ["vars={fast: true, out: o, clips: 1}", "steps.0.out=x_${fast}"])
    assert str(job.steps[0].config.out) == "x_true"


def test_variables_and_steps_can_be_overridden(tmp_path: Path):
    job = load_job(write_job(tmp_path), ["vars.out=elsewhere", "steps.0.num_clips=3"])
    assert str(job.steps[0].config.out) == "elsewhere/corpus"
    assert job.steps[0].config.num_clips == 3


def test_all_faults_of_all_steps_come_at_once_with_their_place(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_job(write_job(tmp_path), ["steps.0.num_clip=3", "steps.1.corpus.name=tabel"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{tmp_path}/job.yaml: steps.0.num_clip: unknown key; did you mean 'num_clips'?")
    assert lines[1].startswith(f"{tmp_path}/job.yaml: steps.1.corpus.name: unknown choice 'tabel'; did you mean 'table'?")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps.0.verb=sinth", "steps.0.verb: 'sinth' is not allowed; did you mean 'synth'?"),
        ("steps.0.out=${where}", "${where} is not among vars. Known: clips, nothing, out"),
        ("steps.0.out=${nothing}", "vars.nothing has no value; set it with vars.nothing="),
        ("vars.out=[a, b]", "${out} is ['a', 'b'], which cannot stand within a string; make it the whole value"),
        ("steps.0.out=a${clips?}", "${clips?}: only the whole value of a key can be left out; write ${clips}"),
        ("vars.clip=3", "vars.clip: unknown variable; did you mean 'clips'?"),
        ("steps=[]", "steps: tuple should have at least 1 item"),
    ],
)
def test_a_wrong_job_says_what_is_wrong(tmp_path: Path, override: str, expected: str):
    with pytest.raises(ConfigError) as caught:
        load_job(write_job(tmp_path), [override])
    assert expected in str(caught.value)


def test_a_step_without_a_verb_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"steps\.0\.verb: required, but missing"):
        load_job(write_job(tmp_path, "steps: [{out: x}]"), [])


def test_the_resolved_job_can_be_loaded_again(tmp_path: Path):
    job = load_job(write_job(tmp_path), [])
    resolved = write_job(tmp_path, job.to_yaml())
    assert load_job(resolved, []).steps == job.steps


def test_the_tag_names_all_verbs():
    assert set(typing.get_args(StepTag.model_fields["verb"].annotation)) == {"run", *VERBS}


# What lies in a folder `parts` is checked within the jobs that run it.
WHOLE_JOBS = [path for path in sorted(JOBS.rglob("*.yaml")) if path.parent.name != "parts"]


@pytest.fixture(scope="module")
def schema() -> jsonschema.protocols.Validator:
    """The schema of job files as a reader of its JSON text has it."""
    text = json.loads(json.dumps(job_schema()))
    jsonschema.Draft202012Validator.check_schema(text)
    return jsonschema.Draft202012Validator(text)


@pytest.mark.parametrize("path", WHOLE_JOBS, ids=lambda path: str(path.relative_to(JOBS)))
def test_every_job_of_the_repository_is_valid_and_fits_the_schema(path: Path, schema: jsonschema.protocols.Validator):
    job = load_job(path, [])
    resolved = yaml.load(job.to_yaml(), yaml.CSafeLoader)
    schema.validate(resolved)
    assert len(resolved["steps"]) >= len(load_yaml(path)["steps"])


@pytest.mark.parametrize("path", sorted((JOBS / "vavl").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_of_vavl_takes_the_variables_of_crema_d(path: Path):
    job = load_job(path, ["vars_from=[parts/msp_improv.yaml, parts/crema_d.yaml]"])
    trainings = [step.config.model_dump() for step in job.steps if step.verb.name == "train"]
    searches = [{"out": step.config.out, **step.config.train} for step in job.steps if step.verb.name == "tune"]
    assert path.stem == "prepare" or trainings or searches
    for config in (*trainings, *searches):
        assert config["out"].is_relative_to("out/vavl/crema_d")
        assert (config["values"], config["batch_size"]) == ([], 32)


def test_the_schema_refuses_an_unknown_key(schema: jsonschema.protocols.Validator):
    job = {"vars": {}, "steps": [{"verb": "report", "runs": ["a"], "nonsense": 1}]}
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(job)
    del job["steps"][0]["nonsense"]
    schema.validate(job)
