"""A job file: variables and a list of steps, each a verb with its config; all are checked before the first one starts."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import Field, create_model

from mer_ray.core.config import Config, apply_overrides, load_yaml, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.workflow.verbs import VERBS, Verb

REFERENCE = re.compile(r"\$\{([^}]*)\}")


def _step_model(verb: Verb[Any]) -> type[Config]:
    tag = (Literal[verb.name], Field())
    return create_model(f"{verb.name.capitalize()}Step", __base__=verb.config_class, verb=tag)


STEP_MODELS = {name: _step_model(verb) for name, verb in VERBS.items()}
AnyStep = Annotated[Union[tuple(STEP_MODELS.values())], Field(discriminator="verb")]  # noqa: UP007 - the members are computed


class JobConfig(Config):
    """`vars`, which `${name}` in any value refers to, and the steps in order."""

    vars: dict[str, Any] = Field(default_factory=dict)
    steps: tuple[AnyStep, ...] = Field(min_length=1)  # type: ignore[valid-type]

    def verbs(self) -> list[tuple[Verb[Any], Any]]:
        """Each step's verb with its config, without the tag."""
        found = []
        for step in self.steps:
            data = step.model_dump(mode="python")  # type: ignore[attr-defined]
            verb = VERBS[data.pop("verb")]
            found.append((verb, verb.config_class.model_validate(data)))
        return found


def load_job(path: Path, overrides: list[str]) -> JobConfig:
    """Read a job file, set `vars.name=value` and `steps.0.key=value` overrides, fill in variables, check all steps.

    Raises:
        ConfigError: every fault of every step.

    """
    data = apply_overrides(load_yaml(path), overrides)
    variables = data.get("vars") or {}
    if not isinstance(variables, dict):
        raise ConfigError(f"{path}: vars: a mapping of names to values, not {variables!r}")
    data["vars"] = variables
    if "steps" in data:
        data["steps"] = _fill_in(data["steps"], variables, str(path))
    return parse_config(JobConfig, data, str(path))


def _fill_in(value: Any, variables: dict[str, Any], where: str) -> Any:
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


def _look_up(name: str, variables: dict[str, Any], where: str) -> Any:
    if name not in variables:
        known = ", ".join(sorted(variables)) or "none"
        raise ConfigError(f"{where}: ${{{name}}} is not among vars. Known: {known}")
    if variables[name] is None:
        raise ConfigError(f"{where}: vars.{name} has no value; set it with vars.{name}=... on the command line or in the file")
    return variables[name]
