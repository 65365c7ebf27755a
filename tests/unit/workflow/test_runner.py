import os
from dataclasses import replace
from pathlib import Path

import pytest

from mer_ray.core.config import Config, where_or_how_fast
from mer_ray.core.errors import RunError
from mer_ray.core.table import Table
from mer_ray.workflow.job import Job, Step
from mer_ray.workflow.runner import StepResult, run_job, state_of
from mer_ray.workflow.verbs import Verb


class CopyConfig(Config):
    source: Path = where_or_how_fast()
    out: Path = where_or_how_fast()
    suffix: str = ""


def copy(config: CopyConfig) -> list[Table]:
    if not config.source.exists():
        raise RunError(f"{config.source}: not there")
    config.out.write_text(config.source.read_text() + config.suffix)
    return [Table("Copied", ("from",), ((str(config.source),),))]


COPY = Verb(
    "copy",
    CopyConfig,
    run=copy,
    plan=lambda config: Table("Copy", ("from",), ()),
    reads=lambda config: [str(config.source)],
    writes=lambda config: [str(config.out)],
)


def make_job(folder: Path, suffix: str = "") -> Job:
    first = CopyConfig(source=folder / "a", out=folder / "b", suffix=suffix)
    second = CopyConfig(source=folder / "b", out=folder / "c")
    return Job({}, (Step(COPY, first), Step(COPY, second)))


def run(job: Job) -> list[bool]:
    shown: list[StepResult] = []
    results = run_job(job, announce=lambda text: None, show=shown.append)
    assert results == shown
    return [result.skipped for result in results]


def test_finished_steps_are_skipped(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    assert run(make_job(tmp_path)) == [False, False]
    assert run(make_job(tmp_path)) == [True, True]
    assert (tmp_path / "c").read_text() == "one"


def test_a_changed_input_runs_its_step_and_all_that_depend_on_it(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    (tmp_path / "a").write_text("three")
    assert run(make_job(tmp_path)) == [False, False]
    assert (tmp_path / "c").read_text() == "three"


def test_a_touched_input_of_equal_size_counts_as_changed(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    (tmp_path / "a").write_text("two")
    os.utime(tmp_path / "a", ns=(5, 5))
    assert run(make_job(tmp_path))[0] is False


def test_a_changed_config_runs_the_step(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    assert run(make_job(tmp_path, suffix="!")) == [False, False]
    assert (tmp_path / "c").read_text() == "one!"


def test_a_lost_output_runs_the_step(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    (tmp_path / "c").unlink()
    assert run(make_job(tmp_path)) == [True, False]


def test_a_job_goes_on_at_the_step_that_failed(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    job = make_job(tmp_path)
    broken = Job({}, (job.steps[0], Step(COPY, CopyConfig(source=tmp_path / "absent", out=tmp_path / "c"))))
    with pytest.raises(RunError, match="absent: not there"):
        run(broken)
    (tmp_path / "absent").write_text("late")
    assert run(broken) == [True, False]
    assert (tmp_path / "c").read_text() == "late"


def test_an_interrupted_step_is_not_taken_for_finished(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    (tmp_path / "a").write_text("changed")

    def interrupted(config: CopyConfig) -> list[Table]:
        config.out.write_text("half")
        raise KeyboardInterrupt

    job = make_job(tmp_path)
    stopped = replace(COPY, run=interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Job({}, (Step(stopped, job.steps[0].config),)))
    (tmp_path / "a").write_text("one")
    assert run(job)[0] is False
    assert (tmp_path / "b").read_text() == "one"


def test_an_output_that_was_replaced_is_made_again(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    (tmp_path / "c").write_text("foreign")
    assert run(make_job(tmp_path)) == [True, False]
    assert (tmp_path / "c").read_text() == "one"


def test_a_damaged_marker_proves_nothing(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    run(make_job(tmp_path))
    (tmp_path / ".c.copy.done.json").write_text("{")
    assert run(make_job(tmp_path)) == [True, False]


def test_a_verb_that_finds_its_own_rest_always_runs(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    always = replace(COPY, reads=lambda config: None)
    job = Job({}, (Step(always, make_job(tmp_path).steps[0].config),))
    assert run(job) == [False]
    assert run(job) == [False]
    assert not list(tmp_path.glob(".*done.json"))


def test_the_state_of_a_step_is_told(tmp_path: Path):
    (tmp_path / "a").write_text("one")
    job = make_job(tmp_path)
    always = replace(COPY, reads=lambda config: None)
    assert state_of(COPY, job.steps[0].config) == state_of(always, job.steps[0].config) == "to do"
    assert state_of(replace(always, writes=lambda config: ["s3://bucket/c"]), job.steps[0].config) == "does what is left"
    assert state_of(replace(always, begins=lambda config: [str(tmp_path)]), job.steps[0].config) == "does what is left"
    run(job)
    assert state_of(COPY, job.steps[0].config) == "finished, would be skipped"
    assert state_of(always, job.steps[0].config) == "does what is left"
