import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from mer_ray.core.errors import ConfigError
from mer_ray.workflow.job import job_schema, load_job

PART = """
vars_from: [shared.yaml]
vars: {name: null, seed: 1, folder: "${out}/${name}"}
steps: [{verb: synth, out: "${folder}", seed: "${seed}", num_clips: "${clips}"}]
"""
OUTER = """
vars: {out: work, seed: 7}
steps:
  - {verb: run, job: parts/part.yaml, vars: {name: a}}
  - {verb: run, job: parts/part.yaml, vars: {name: b, seed: 3, folder: "${out}/other"}}
"""


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/shared.yaml").write_text("{clips: 12, out: elsewhere}")
    (tmp_path / "parts/part.yaml").write_text(PART)
    (tmp_path / "outer.yaml").write_text(OUTER)
    return tmp_path / "outer.yaml"


def facts(path: Path, overrides: list[str]) -> list[tuple[str, int, int]]:
    return [(str(step.config.out), step.config.seed, step.config.num_clips) for step in load_job(path, overrides).steps]


def test_a_job_that_runs_another_gives_it_its_variables(outer: Path):
    assert facts(outer, []) == [("work/a", 7, 12), ("work/other", 3, 12)]
    assert facts(outer, ["vars.out=there", "steps.0.vars.seed=9"]) == [("there/a", 9, 12), ("there/other", 3, 12)]


def test_files_of_variables_can_be_overridden_and_come_before_the_files_own(outer: Path):
    part = outer.parent / "parts/part.yaml"
    assert facts(part, ["vars.name=a", "vars.clips=2"]) == [("elsewhere/a", 1, 2)]
    part.write_text(PART.replace("vars: {", "vars: {clips: 5, "))
    assert facts(part, ["vars.name=a"]) == [("elsewhere/a", 1, 5)]


def test_another_list_of_files_of_variables_is_read(outer: Path):
    (outer.parent / "parts/other.yaml").write_text("{clips: 9, out: there}")
    assert facts(outer.parent / "parts/part.yaml", ["vars_from=[other.yaml]", "vars.name=a"]) == [("there/a", 1, 9)]


def test_a_variable_that_is_given_as_null_has_no_value(tmp_path: Path):
    (tmp_path / "part.yaml").write_text('vars: {seed: 3}\nsteps: [{verb: synth, out: here, seed: "${seed?}"}]')
    outer = tmp_path / "outer.yaml"
    outer.write_text("vars: {seed: 7}\nsteps: [{verb: run, job: part.yaml, vars: {seed: null}}]")
    assert facts(outer, []) == [("here", 0, 360)]
    (tmp_path / "part.yaml").write_text('vars: {seed: 3}\nsteps: [{verb: synth, out: here, seed: "${seed}"}]')
    with pytest.raises(ConfigError, match=r"part\.yaml: vars\.seed has no value"):
        load_job(outer, [])


def test_a_variable_that_may_lack_is_given_on_where_it_has_a_value(tmp_path: Path):
    (tmp_path / "part.yaml").write_text('vars: {seed: 3}\nsteps: [{verb: synth, out: here, seed: "${seed}"}]')
    outer = tmp_path / "outer.yaml"
    outer.write_text('vars: {other: null}\nsteps: [{verb: run, job: part.yaml, vars: {seed: "${other?}"}}]')
    assert facts(outer, []) == [("here", 3, 360)]
    assert facts(outer, ["vars.other=5"]) == [("here", 5, 360)]


def test_the_resolved_job_holds_the_steps_themselves(outer: Path):
    resolved = yaml.safe_load(load_job(outer, []).to_yaml())
    assert [step["verb"] for step in resolved["steps"]] == ["synth", "synth"]
    schema = json.loads(json.dumps(job_schema()))
    jsonschema.validate(resolved, schema)
    jsonschema.validate(yaml.safe_load(OUTER), schema)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("steps.0.vars={name: a, seeds: 3}", "outer.yaml: steps.0.vars.seeds: unknown variable of "),
        ("steps.0.vars={name: a, seeds: 3}", "part.yaml; did you mean 'seed'? Allowed: clips, out, name, seed, folder"),
        ("steps.0.vars={}", "part.yaml: vars.name has no value; set it in steps.0.vars of "),
        ("steps.0.job=parts/prat.yaml", "outer.yaml: steps.0.job: "),
        ("steps.0.job=outer.yaml", "steps.0.job: outer.yaml: this job runs itself"),
        ("steps.0.jobs=x", "steps.0.jobs: unknown key"),
        ("vars={out: '${seed}', seed: '${out}'}", "outer.yaml: vars.out: refers to itself: out -> seed -> out"),
        ("steps.1.vars.seed=much", "part.yaml: steps.0.seed: "),
    ],
)
def test_a_wrong_job_within_a_job_says_what_is_wrong(outer: Path, change: str, expected: str):
    with pytest.raises(ConfigError) as caught:
        load_job(outer, [change])
    assert expected in str(caught.value)


def test_faults_of_all_jobs_come_at_once(outer: Path):
    with pytest.raises(ConfigError) as caught:
        load_job(outer, ["steps.0.vars.seed=much", "steps.1.vars.seed=more"])
    part = outer.parent / "parts/part.yaml"
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{outer}: steps.0 runs {part}: steps.0.seed: ") and "'much'" in first
    assert second.startswith(f"{outer}: steps.1 runs {part}: steps.0.seed: ") and "'more'" in second


def test_two_jobs_that_run_each_other_are_refused(outer: Path):
    (outer.parent / "parts/part.yaml").write_text("vars: {name: null, seed: 1, folder: x}\nsteps: [{verb: run, job: ../outer.yaml}]")
    with pytest.raises(ConfigError, match="this job runs itself"):
        load_job(outer, [])


def test_a_variable_that_lacks_two_jobs_down_is_set_in_the_job_between(outer: Path):
    (outer.parent / "top.yaml").write_text("steps: [{verb: run, job: outer.yaml}]")
    outer.write_text(OUTER.replace("name: a", "seed: 1"))
    with pytest.raises(ConfigError) as caught:
        load_job(outer.parent / "top.yaml", [])
    assert str(caught.value).endswith(f"part.yaml: vars.name has no value; set it in steps.0.vars of {outer}")


def test_a_file_of_variables_that_is_not_there_is_told_with_the_job_that_names_it(outer: Path):
    (outer.parent / "parts/shared.yaml").unlink()
    with pytest.raises(ConfigError, match=r"parts/part\.yaml: vars_from\.0: .*shared\.yaml: no such config file"):
        load_job(outer, [])


def test_a_variable_that_is_set_as_if_it_were_a_key_is_told_how_to_be_set(outer: Path):
    with pytest.raises(ConfigError, match=r"outer\.yaml: out: unknown key, but a variable of this job; write vars\.out=o$"):
        load_job(outer, ["out=o"])


def test_an_optional_key_stays_away_without_a_value(tmp_path: Path):
    job = tmp_path / "job.yaml"
    job.write_text('vars: {out: work, seed: null}\nsteps: [{verb: synth, out: "${out}", seed: "${seed?}", audio: {missing: "${seed?}"}}]')
    assert facts(job, []) == [("work", 0, 360)]
    assert load_job(job, ["vars.seed=1"]).steps[0].config.audio.missing == 1
    with pytest.raises(ConfigError, match=r"\$\{sede\} is not among vars"):
        load_job(job, ["steps.0.seed=${sede?}"])
