"""A job file: variables and a list of steps, each a verb with its config; all are checked before the first one starts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from mer_ray.core.config import Config, apply_overrides, load_yaml, nearest, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.workflow.verbs import VERBS, Verb

REFERENCE = re.compile(r"\$\{([^}]*)\}")


class JobFile(Config):
    """What stands in the file: `vars`, which `${name}` in any value refers to, and the steps in order, each with its `verb`."""

    vars: dict[str, Any] = Field(default_factory=dict)
    steps: tuple[dict[str, Any], ...] = Field(min_length=1)


class StepTag(Config):
    """The key that says what a step does."""

    verb: Literal["synth", "manifest", "import", "transcribe", "extract", "export", "train", "bundle", "predict", "evaluate", "report"]


@dataclass(frozen=True)
class Step:
    """One verb with its checked config."""

    verb: Verb[Any]
    config: Any


@dataclass(frozen=True)
class Job:
    """A checked job: its variables and its steps."""

    vars: dict[str, Any]
    steps: tuple[Step, ...]

    def to_yaml(self) -> str:
        """The resolved job, as `--print-config` shows it."""
        steps = [{"verb": step.verb.name, **step.config.model_dump(mode="json")} for step in self.steps]
        return yaml.safe_dump({"vars": self.vars, "steps": steps}, sort_keys=False, allow_unicode=True)


def load_job(path: Path, overrides: list[str]) -> Job:
    """Read a job file, set `vars.name=value` and `steps.0.key=value` overrides, fill in variables, check all steps.

    Raises:
        ConfigError: every fault of every step, a line each.

    """
    data = load_yaml(path)
    _check_variables(data, overrides, str(path))
    file = parse_config(JobFile, apply_overrides(data, overrides), str(path))
    steps, faults = [], []
    for number, data in enumerate(file.steps):
        try:
            steps.append(_parse_step(_fill_in(data, file.vars, str(path)), str(path), f"steps.{number}."))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return Job(file.vars, tuple(steps))


def _check_variables(data: dict[str, Any], overrides: list[str], where: str) -> None:
    """Refuse a variable that no step could refer to: it would be set and never read."""
    known = list(data.get("vars") or {})
    for override in overrides:
        parts = override.partition("=")[0].split(".")
        if parts[0] == "vars" and len(parts) > 1 and parts[1] not in known:
            raise ConfigError(f"{where}: vars.{parts[1]}: unknown variable{nearest(parts[1], known)}")


def _parse_step(data: dict[str, Any], where: str, prefix: str) -> Step:
    tag = parse_config(StepTag, {key: value for key, value in data.items() if key == "verb"}, where, prefix)
    verb = VERBS[tag.verb]
    config = {key: value for key, value in data.items() if key != "verb"}
    return Step(verb, parse_config(verb.config_class, config, where, prefix))


def _fill_in(value: Any, variables: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _fill_in(item, variables, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_in(item, variables, where) for item in value]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole:
        return _look_up(whole[1], variables, where)
    return REFERENCE.sub(lambda match: str(_look_up(match[1], variables, where)), value)


def _look_up(name: str, variables: Mapping[str, Any], where: str) -> Any:
    if name not in variables:
        known = ", ".join(sorted(variables)) or "none"
        raise ConfigError(f"{where}: ${{{name}}} is not among vars. Known: {known}")
    if variables[name] is None:
        raise ConfigError(f"{where}: vars.{name} has no value; set it with vars.{name}=... on the command line or in the file")
    return variables[name]


def job_schema() -> dict[str, Any]:
    """The JSON schema of a job file: each step is one of the verbs' configs with its tag."""
    schema = JobFile.model_json_schema()
    definitions: dict[str, Any] = {}
    choices = []
    for name, verb in VERBS.items():
        step = verb.config_class.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{model}": definition for model, definition in step.pop("$defs", {}).items()}
        step["properties"]["verb"] = {"const": name}
        step["required"] = ["verb", *step.get("required", [])]
        choices.append(step)
    schema["properties"]["steps"]["items"] = {"oneOf": choices}
    return {**schema, "$defs": definitions}
