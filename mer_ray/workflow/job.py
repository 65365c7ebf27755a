"""A job file: variables and a list of steps, each a verb with its config; all are checked before the first one starts."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mer_ray.core.config import Config, apply_overrides, dump_plain, load_yaml, nearest, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.workflow.variables import Variables
from mer_ray.workflow.verbs import VERBS, Verb


class JobFile(Config):
    """What stands in the file: `vars`, which `${name}` in any value refers to, and the steps in order, each with its `verb`.

    `vars_from` are YAML files with more variables, later ones in place of earlier ones, `vars` in place of all; named from this file.
    """

    vars_from: tuple[str, ...] = ()
    vars: dict[str, Any] = Field(default_factory=dict)
    steps: tuple[dict[str, Any], ...] = Field(min_length=1)


class StepTag(Config):
    """The key that says what a step does."""

    verb: Literal[
        "run",
        "synth",
        "manifest",
        "import",
        "transcribe",
        "extract",
        "export",
        "train",
        "tune",
        "selftrain",
        "finetune",
        "bundle",
        "predict",
        "vote",
        "probe",
        "evaluate",
        "report",
    ]


class JobStep(Config):
    """A step that stands for the steps of another job file, named from this one.

    Variables of this job stand in place of that job's own of the same name, and `vars` in place of both.
    """

    job: str
    vars: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One verb with its checked config, and the step as it stands in the job file; None where another job's steps stand for it."""

    verb: Verb[Any]
    config: Any
    written: dict[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Job:
    """A checked job: its variables, its steps, those of jobs that it runs in their place, and the files that say all this."""

    vars: dict[str, Any]
    steps: tuple[Step, ...]
    files: tuple[Path, ...] = ()

    def to_yaml(self) -> str:
        """The resolved job, as `--print-config` shows it."""
        steps = [{"verb": step.verb.name, **step.config.model_dump(mode="json")} for step in self.steps]
        return dump_plain({"vars": self.vars, "steps": steps})


def load_job(path: Path, overrides: list[str]) -> Job:
    """Read a job file, set `vars.name=value` and `steps.0.key=value` overrides, fill in variables, check all steps.

    Raises:
        ConfigError: every fault of every step, a line each.

    """
    files: list[Path] = []
    file = _read(path, overrides, files)
    faults: list[str] = []
    steps = tuple(_steps(path, file, Variables(file.vars, str(path)), (path.resolve(),), faults, files))
    if faults:
        raise ConfigError("\n".join(faults))
    return Job(file.vars, steps, tuple(dict.fromkeys(files)))


def _read(path: Path, overrides: list[str], files: list[Path]) -> JobFile:
    """The file with all its variables in `vars`; what is read is added to `files`."""
    files.append(path)
    # Another list of files brings other variables, so that it comes before what is said of them.
    data = apply_overrides(load_yaml(path), [one for one in overrides if one.partition("=")[0].split(".")[0] == "vars_from"])
    file = parse_config(JobFile, data, str(path))
    variables: dict[str, Any] = {}
    for number, name in enumerate(file.vars_from):
        files.append(path.parent / name)
        try:
            variables |= load_yaml(path.parent / name)
        except ConfigError as error:
            raise ConfigError(f"{path}: vars_from.{number}: {error}") from error
    data["vars"] = variables | file.vars
    _check_overrides(data["vars"], overrides, str(path))
    return parse_config(JobFile, apply_overrides(data, overrides), str(path))


def _check_overrides(variables: dict[str, Any], overrides: list[str], where: str) -> None:
    """Refuse a variable that no step could refer to, which would be set and never read, and one that is written as a key of the file."""
    for override in overrides:
        parts = override.partition("=")[0].split(".")
        if parts[0] in variables and parts[0] not in JobFile.model_fields:
            raise ConfigError(f"{where}: {parts[0]}: unknown key, but a variable of this job; write vars.{override}")
        if parts[0] == "vars" and len(parts) > 1 and parts[1] not in variables:
            raise ConfigError(f"{where}: vars.{parts[1]}: unknown variable{nearest(parts[1], list(variables))}")


def _steps(
    path: Path, file: JobFile, variables: Variables, trail: tuple[Path, ...], faults: list[str], files: list[Path]
) -> Iterator[Step]:
    """The steps of one file that are sound; the faults of the others are added."""
    where = variables.where
    for number, step in enumerate(file.steps):
        prefix = f"steps.{number}."
        try:
            tag = parse_config(StepTag, {"verb": variables.fill_in(step["verb"])} if "verb" in step else {}, where, prefix)
            data = {key: value for key, value in step.items() if key != "verb"}
            if tag.verb == "run":
                yield from _steps_of_job(path, data, variables, trail, faults, files, prefix)
            else:
                verb = VERBS[tag.verb]
                config = parse_config(verb.config_class, variables.fill_in(data), where, prefix)
                yield Step(verb, config, step if len(trail) == 1 else None)
        except ConfigError as error:
            faults.append(str(error))


def _steps_of_job(
    path: Path, data: dict[str, Any], outer: Variables, trail: tuple[Path, ...], faults: list[str], files: list[Path], prefix: str
) -> Iterator[Step]:
    where = outer.where
    step = parse_config(JobStep, {**data, "job": outer.fill_in(data.get("job"))} if "job" in data else data, where, prefix)
    inner = path.parent / step.job
    if not inner.is_file():
        raise ConfigError(f"{where}: {prefix}job: {inner}: no such job file; it is named from the folder of {path.name}")
    if inner.resolve() in trail:
        raise ConfigError(f"{where}: {prefix}job: {step.job}: this job runs itself; leave the step out")
    file = _read(inner, [], files)
    variables = Variables(file.vars, os.path.normpath(inner), outer=outer, step=prefix.removesuffix("."), given=step.vars)
    yield from _steps(inner, file, variables, (*trail, inner.resolve()), faults, files)


def job_schema() -> dict[str, Any]:
    """The JSON schema of a job file: each step is one of the verbs' configs with its tag, or another job."""
    schema = JobFile.model_json_schema()
    definitions: dict[str, Any] = {}
    choices = []
    configs = {"run": JobStep} | {name: verb.config_class for name, verb in VERBS.items()}
    for name, config_class in configs.items():
        step = config_class.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{model}": definition for model, definition in step.pop("$defs", {}).items()}
        step["properties"]["verb"] = {"const": name}
        step["required"] = ["verb", *step.get("required", [])]
        choices.append(step)
    schema["properties"]["steps"]["items"] = {"oneOf": choices}
    return {**schema, "$defs": definitions}
