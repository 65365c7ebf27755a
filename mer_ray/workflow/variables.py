"""The variables of a job file: what `${name}` stands for."""

import re
from collections.abc import Mapping
from typing import Any

from mer_ray.core.config import nearest
from mer_ray.core.errors import ConfigError

REFERENCE = re.compile(r"\$\{([^}]*)\}")
# A key whose value this is stays away where the variable has no value.
OPTIONAL = re.compile(r"\$\{([^}]*)\?\}")


class Variables:
    """The variables of the job file `file`, and those that reach it from the job that runs it, which stand in place of its own.

    `given` stand in the step `step` of `outer`, which runs this job, and may refer to variables of `outer`; they must be variables of
    this job. One that is null has no value here, whatever `outer` and the job itself say; `name: ${other?}` counts as not given where
    `other` has no value.

    Raises:
        ConfigError: `given` names a variable that this job lacks.

    """

    def __init__(
        self, own: Mapping[str, Any], file: str, *, outer: "Variables | None" = None, step: str = "", given: Mapping[str, Any] | None = None
    ):
        self.own, self.file, self.outer, self.step = own, file, outer, step
        # Several steps often run the same job.
        self.where: str = file if outer is None else f"{outer.where}: {step} runs {file}"
        for name in given or {}:
            if name not in own:
                place = f"{file}: vars" if outer is None else f"{outer.where}: {step}.vars"
                raise ConfigError(f"{place}.{name}: unknown variable of {file}{nearest(name, list(own))}")
        self.given = {name: value for name, value in (given or {}).items() if outer is None or not outer._is_left_out(value)}

    def fill_in(self, value: Any, trail: tuple[str, ...] = ()) -> Any:
        """The value with its references replaced; one that is the whole string keeps the variable's type.

        `key: ${name?}` is left out where the variable has no value.

        Raises:
            ConfigError: a name that is no variable, one without a value, a list or mapping within a string, or variables that refer to
                each other in a circle.

        """
        if isinstance(value, dict):
            return {key: self.fill_in(_plain(item), trail) for key, item in value.items() if not self._is_left_out(item)}
        if isinstance(value, list):
            return [self.fill_in(item, trail) for item in value]
        if not isinstance(value, str):
            return value
        whole = REFERENCE.fullmatch(value)
        if whole:
            return self._look_up(whole[1], trail)
        return REFERENCE.sub(lambda match: self._as_text(match[1], self._look_up(match[1], trail)), value)

    def _as_text(self, name: str, value: Any) -> str:
        if isinstance(value, (list, dict)):
            raise ConfigError(f"{self.where}: ${{{name}}} is {value!r}, which cannot stand within a string; make it the whole value")
        # As YAML writes it.
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _look_up(self, name: str, trail: tuple[str, ...]) -> Any:
        if name.endswith("?"):
            raise ConfigError(f"{self.where}: ${{{name}}}: only the whole value of a key can be left out; write ${{{name[:-1]}}}")
        if name in trail:
            raise ConfigError(f"{self.where}: vars.{name}: refers to itself: {' -> '.join((*trail[trail.index(name) :], name))}")
        if self.given.get(name) is not None:
            assert self.outer is not None
            return self.outer.fill_in(_plain(self.given[name]))
        if name not in self.given and self.outer is not None and self.outer._has(name):
            return self.outer._look_up(name, ())
        if name not in self.own:
            raise ConfigError(f"{self.where}: ${{{name}}} is not among vars. Known: {', '.join(sorted(self.own)) or 'none'}")
        if name in self.given or self.own[name] is None:
            raise ConfigError(f"{self.where}: vars.{name} has no value; set it {self._where_to_set(name)}")
        return self.fill_in(self.own[name], (*trail, name))

    def _where_to_set(self, name: str) -> str:
        if self.outer is None:
            return f"with vars.{name}=... on the command line or in the file"
        return f"in {self.step}.vars of {self.outer.file}"

    def _is_left_out(self, value: Any) -> bool:
        optional = OPTIONAL.fullmatch(value) if isinstance(value, str) else None
        return optional is not None and optional[1] in self.own and not self._has(optional[1])

    def _has(self, name: str) -> bool:
        if name in self.given:
            return self.given[name] is not None
        return self.own.get(name) is not None or (self.outer is not None and self.outer._has(name))


def _plain(value: Any) -> Any:
    """An optional reference that has a value is one like any other."""
    optional = OPTIONAL.fullmatch(value) if isinstance(value, str) else None
    return f"${{{optional[1]}}}" if optional else value
