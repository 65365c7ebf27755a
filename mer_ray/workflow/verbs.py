"""All verbs that a job can have: the config each takes, the function it calls, and what it reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mer_ray.core.config import Config
from mer_ray.core.table import Table

ConfigType = TypeVar("ConfigType", bound=Config)


@dataclass(frozen=True)
class Verb(Generic[ConfigType]):
    """One verb: `run` does the work, `plan` says what it would do; `reads` and `writes` are its local files and folders."""

    name: str
    config_class: type[ConfigType]
    run: Callable[[ConfigType], list[Table]]
    plan: Callable[[ConfigType], Table]
    reads: Callable[[ConfigType], list[str]]
    writes: Callable[[ConfigType], list[str]]
    # A verb that compares what is wanted with what is there itself costs little when nothing is left: it always runs.
    finds_its_own_rest: bool = False


def _facts(title: str, **facts: object) -> Table:
    return Table(title, ("", "value"), tuple((name.replace("_", " "), str(value)) for name, value in facts.items()))
