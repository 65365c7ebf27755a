"""A config with searched values in it: what may be drawn for each, and a draw put in their place.

A searched value is a mapping with the key `search` where the config has a value:

    learning_rate: {search: float, low: 1.0e-5, high: 1.0e-2, log: true}
    model: {search: choice, of: [{name: attention, hidden_dim: {search: int, low: 64, high: 256, step: 64}}, {name: tfn}]}
    layers: {search: subset, of: [18, 20, 22, 24]}

What stands inside an option is drawn only with it. Names of parameters are dotted paths; inside options they go on with the option's
label (`model.attention.hidden_dim`), and a subset is one yes or no per element (`inputs.hubert.layers.18`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from mer_ray.core.config import Config, nearest, parse_config
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugins import TAG

Scalar = str | int | float | bool | None
# What names an option that is a mapping, the first that it has.
LABEL_KEYS = ("name", "stream", "encoder")
# All plug-ins have the same `name`.
PLUGIN_LABEL_KEYS = ("class", *LABEL_KEYS)


class FloatSearch(Config):
    """A number from `low` to `high`; `log`: of equal chance per power; `step`: from `low` on in steps."""

    search: Literal["float"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False
    step: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> "FloatSearch":
        _check_range(self.low, self.high, self.log, self.step)
        return self


class IntSearch(Config):
    """A whole number from `low` to `high`, both included."""

    search: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> "IntSearch":
        _check_range(self.low, self.high, self.log, None if self.step == 1 else self.step)
        return self


class ChoiceSearch(Config):
    """One of several values; inside mappings and lists, searched values of their own."""

    search: Literal["choice"]
    of: list[Any] = Field(min_length=2)


class SubsetSearch(Config):
    """Any of several values, in their order, one yes or no each; where fewer than `at_least` are drawn, the first others join them."""

    search: Literal["subset"]
    of: list[Any] = Field(min_length=2)
    at_least: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _check(self) -> "SubsetSearch":
        if self.at_least > len(self.of):
            raise ValueError(f"at_least: {self.at_least} of {len(self.of)} values; lower it")
        return self


SEARCHES: dict[str, type[FloatSearch | IntSearch | ChoiceSearch | SubsetSearch]] = {
    "float": FloatSearch,
    "int": IntSearch,
    "choice": ChoiceSearch,
    "subset": SubsetSearch,
}


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low >= high:
        raise ValueError(f"low: {low:g} is not below high: {high:g}")
    if log and low <= 0:
        raise ValueError(f"log: needs low above 0, not {low:g}")
    if log and step is not None:
        raise ValueError("step: does not go with log; leave one of them out")
    if step is not None and not _is_multiple(high - low, step):
        last = low + step * math.floor((high - low) / step)
        hint = "lower step" if last == low else f"set high: {last:g}, or another step"
        raise ValueError(f"step: {high:g} is not {low:g} plus a multiple of {step:g}; {hint}")


def _is_multiple(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) <= 1e-6


@dataclass(frozen=True)
class Dimension:
    """One parameter of a search: a range of numbers, or `options`; `is_conditional` where only some trials have it."""

    name: str
    kind: Literal["float", "int", "choice"]
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    options: tuple[Scalar, ...] = ()
    is_conditional: bool = False

    def facts(self) -> dict[str, Any]:
        """For search.json."""
        what = {"options": list(self.options)} if self.kind == "choice" else {"low": self.low, "high": self.high, "log": self.log}
        return {"kind": self.kind, **what, "step": self.step, "is_conditional": self.is_conditional}

    def check(self, value: Any) -> None:
        """Refuse a value that cannot be drawn.

        Raises:
            ConfigError: says what can.

        """
        if self.kind == "choice":
            if not any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in self.options):
                raise ConfigError(f"{self.name}: {value!r} is not among {', '.join(map(str, self.options))}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise ConfigError(f"{self.name}: {value!r} is not a number from {self.low:g} to {self.high:g}")
        elif self.kind == "int" and value != int(value):
            raise ConfigError(f"{self.name}: {value!r} is not a whole number")
        elif self.step is not None and not _is_multiple(value - self.low, self.step):
            raise ConfigError(f"{self.name}: {value!r} is not {self.low:g} plus a multiple of {self.step:g}")


class Draw(Protocol):
    """Where the value of a parameter comes from."""

    def __call__(self, dimension: Dimension) -> Any:
        """A value of the dimension."""


@dataclass(frozen=True)
class Space:
    """A config as a tree of plain values and searched ones; `raw` as it was written."""

    raw: Mapping[str, Any]
    tree: Any
    dimensions: dict[str, Dimension]
    subsets: "dict[str, _Subset]"

    @property
    def is_flat(self) -> bool:
        """Whether every trial has every parameter."""
        return not any(dimension.is_conditional for dimension in self.dimensions.values())

    def fill(self, draw: Draw) -> dict[str, Any]:
        """The config with a drawn value in each searched place."""
        filled: dict[str, Any] = _fill(self.tree, draw, set())
        return filled

    def settle(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's parameters as they acted: of a subset with too few drawn, those that joined them are in."""
        joined: set[str] = set()
        _fill(self.tree, lambda dimension: params[dimension.name], joined)
        return {**params, **dict.fromkeys(joined, True)}

    def read_back(self, config: Mapping[str, Any], where: str, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters that give a config its values, as far as it, or else the `defaults`, say them; those of others are drawn.

        A default that cannot be drawn is none.

        Raises:
            ConfigError: none of its values stands where something is searched, or one cannot be drawn.

        """
        found: dict[str, Any] = {}
        _read_back(self.tree, config, found)
        if not found:
            raise ConfigError(f"{where}: has no value where something is searched: {', '.join(self.dimensions)}")
        for name, value in found.items():
            self._check_at(where, name, value)
        more: dict[str, Any] = {}
        _read_back(self.tree, defaults or {}, more)
        return {name: value for name, value in more.items() if self._can_draw(name, value)} | found

    def _can_draw(self, name: str, value: Any) -> bool:
        try:
            self.dimensions[name].check(value)
        except ConfigError:
            return False
        return True

    def expand_start(self, start: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Known good values as parameters of a trial; a subset may be written as the list of its elements.

        Raises:
            ConfigError: an unknown parameter, a value that cannot be drawn, or one that would not act.

        """
        expanded: dict[str, Any] = {}
        for name, value in start.items():
            if name in self.subsets:
                expanded |= self._expand_subset(where, name, value)
            elif name not in self.dimensions:
                raise ConfigError(f"{where}: nothing is searched at {name!r}{nearest(name, [*self.dimensions, *self.subsets])}")
            else:
                # A list that is an option goes by its label, as everywhere.
                expanded[name] = _label(value, 0) if isinstance(value, list) else value
                self._check_at(where, name, expanded[name])
        acting = set(_acting(self.tree, expanded))
        idle = next((name for name in expanded if name not in acting), None)
        if idle is not None:
            raise ConfigError(f"{where}: {idle}: is drawn only with an option that this setting does not name; name it, or leave this out")
        return expanded

    def _expand_subset(self, where: str, name: str, value: Any) -> dict[str, bool]:
        subset = self.subsets[name]
        labels = [str(one) for one in value] if isinstance(value, list) else None
        if labels is None:
            raise ConfigError(f"{where}: {name}: {value!r} is not a list of some of {', '.join(subset.labels)}")
        unknown = next((label for label in labels if label not in subset.labels), None)
        if unknown is not None:
            raise ConfigError(f"{where}: {name}: {unknown!r} is not among {', '.join(subset.labels)}")
        if len(labels) < subset.at_least:
            raise ConfigError(f"{where}: {name}: {len(labels)} values, where a trial has {subset.at_least} at least; name more of them")
        return {dimension.name: label in labels for label, (dimension, _) in zip(subset.labels, subset.elements, strict=True)}

    def _check_at(self, where: str, name: str, value: Any) -> None:
        try:
            self.dimensions[name].check(value)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error


@dataclass(frozen=True)
class _Choice:
    dimension: Dimension
    options: dict[Scalar, Any]


@dataclass(frozen=True)
class _Subset:
    path: str
    labels: list[str]
    elements: list[tuple[Dimension, Any]]
    at_least: int


def parse_space(raw: Mapping[str, Any], where: str) -> Space:
    """Find the searched values of a config.

    Raises:
        ConfigError: one that is not well formed, two options of one label, or nothing searched at all.

    """
    dimensions: dict[str, Dimension] = {}

    def add(dimension: Dimension) -> Dimension:
        if dimension.name in dimensions:
            raise ConfigError(f"{where}: two searched values have the name {dimension.name!r}; give one of them another name or stream")
        dimensions[dimension.name] = dimension
        return dimension

    tree = _parse(raw, "", False, add, where)
    if not dimensions:
        raise ConfigError(f"{where}: nothing is searched; write {{search: float | int | choice | subset, ...}} in place of a value")
    return Space(raw, tree, dimensions, {subset.path: subset for subset in _subsets(tree)})


def _parse(value: Any, path: str, is_conditional: bool, add: Callable[[Dimension], Dimension], where: str) -> Any:
    if isinstance(value, Mapping) and "search" in value:
        return _parse_search(value, path, is_conditional, add, where)
    if isinstance(value, Mapping):
        # Draws go by the order of the parameters, which must not be that in which somebody wrote the keys.
        items = sorted(value.items(), key=lambda item: str(item[0]))
        return {key: _parse(item, _join(path, str(key)), is_conditional, add, where) for key, item in items}
    if isinstance(value, list):
        labelled = zip(_item_labels(value), value, strict=True)
        return [_parse(item, _join(path, str(label)), is_conditional, add, where) for label, item in labelled]
    return value


def _parse_search(raw: Mapping[str, Any], path: str, is_conditional: bool, add: Callable[[Dimension], Dimension], where: str) -> Any:
    kind = str(raw["search"])
    if kind not in SEARCHES:
        raise ConfigError(f"{where}: {_join(path, 'search')}: unknown choice {kind!r}{nearest(kind, list(SEARCHES))}")
    found = parse_config(SEARCHES[kind], raw, where, prefix=f"{path}.")
    if isinstance(found, FloatSearch):
        return add(Dimension(path, "float", found.low, found.high, found.log, found.step, is_conditional=is_conditional))
    if isinstance(found, IntSearch):
        step = None if found.step == 1 else found.step
        return add(Dimension(path, "int", found.low, found.high, found.log, step, is_conditional=is_conditional))
    labels = _labels(found.of, path, where)
    if isinstance(found, ChoiceSearch):
        dimension = add(Dimension(path, "choice", options=tuple(labels), is_conditional=is_conditional))
        options = zip(labels, found.of, strict=True)
        return _Choice(dimension, {label: _parse(item, _join(path, str(label)), True, add, where) for label, item in options})
    elements = []
    for label, item in zip(labels, found.of, strict=True):
        name = _join(path, str(label))
        dimension = add(Dimension(name, "choice", options=(False, True), is_conditional=is_conditional))
        elements.append((dimension, _parse(item, name, True, add, where)))
    return _Subset(path, list(map(str, labels)), elements, found.at_least)


def _subsets(value: Any) -> Iterator[_Subset]:
    if isinstance(value, _Subset):
        yield value
    for part in _parts(value):
        yield from _subsets(part)


def _acting(value: Any, given: Mapping[str, Any]) -> Iterator[str]:
    """The names of the parameters that a trial has for sure whose values these are, be they given or not."""
    if isinstance(value, Dimension):
        yield value.name
    elif isinstance(value, _Choice):
        yield value.dimension.name
        if value.dimension.name in given:
            yield from _acting(value.options[given[value.dimension.name]], given)
    elif isinstance(value, _Subset):
        for dimension, item in value.elements:
            yield dimension.name
            if given.get(dimension.name):
                yield from _acting(item, given)
    else:
        for part in _parts(value):
            yield from _acting(part, given)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, _Choice):
        return value.options.values()
    if isinstance(value, _Subset):
        return [item for _, item in value.elements]
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def _join(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step


def _labels(options: Sequence[Any], path: str, where: str) -> list[Scalar]:
    labels = [_label(option, number) for number, option in enumerate(options)]
    for number, label in enumerate(labels):
        if not isinstance(label, (str, int, float, bool, NoneType)) or (isinstance(label, float) and not math.isfinite(label)):
            raise ConfigError(
                f"{where}: {path}: {label!r} cannot be an option; allowed: text, finite numbers, true, false, null, lists, mappings"
            )
        # 1, 1.0 and true are the same to Python and to Optuna.
        if any(other == label or str(other) == str(label) for other in labels[:number]):
            hint = "give one a `stream` of its own, or search inside one of them what they differ in"
            raise ConfigError(f"{where}: {path}: two of its values are called {str(label)!r}; {hint}")
    return labels


def _label(option: Any, number: int) -> Scalar:
    if isinstance(option, Mapping):
        keys = PLUGIN_LABEL_KEYS if option.get("name") == TAG else LABEL_KEYS
        return next((str(option[key]) for key in keys if isinstance(option.get(key), str)), f"option{number}")
    if isinstance(option, list):
        is_plain = option and not any(isinstance(item, (Mapping, list)) for item in option)
        return "+".join(map(str, option)) if is_plain else f"option{number}"
    scalar: Scalar = option
    return scalar


def _item_labels(items: Sequence[Any]) -> list[Scalar]:
    """Items of a list by their names where these differ, else by their numbers."""
    labels = [_label(item, number) if isinstance(item, Mapping) else number for number, item in enumerate(items)]
    return labels if len(set(map(str, labels))) == len(labels) else list(range(len(items)))


def _fill(value: Any, draw: Draw, joined: set[str]) -> Any:
    """The tree with drawn values; `joined` gets the names of what a subset needed beyond what was drawn."""
    if isinstance(value, Dimension):
        return draw(value)
    if isinstance(value, _Choice):
        return _fill(value.options[draw(value.dimension)], draw, joined)
    if isinstance(value, _Subset):
        is_in = [bool(draw(dimension)) for dimension, _ in value.elements]
        lacking = [number for number, chosen in enumerate(is_in) if not chosen]
        for number in lacking[: max(0, value.at_least - sum(is_in))]:
            is_in[number] = True
            joined.add(value.elements[number][0].name)
        return [_fill(item, draw, joined) for (_, item), chosen in zip(value.elements, is_in, strict=True) if chosen]
    if isinstance(value, Mapping):
        return {key: _fill(item, draw, joined) for key, item in value.items()}
    return [_fill(item, draw, joined) for item in value] if isinstance(value, list) else value


def _read_back(tree: Any, value: Any, found: dict[str, Any]) -> bool:
    """Note the parameters that turn the tree into a value; False where nothing drawn gives it, and plain parts differ."""
    if isinstance(tree, Dimension):
        found[tree.name] = value
        return True
    if isinstance(tree, _Choice):
        return any(_note_option(tree.dimension, label, option, value, found) for label, option in tree.options.items())
    if isinstance(tree, _Subset):
        items = value if isinstance(value, list) else [value]
        for dimension, element in tree.elements:
            found[dimension.name] = any(_note_option(dimension, True, element, item, found) for item in items)
        return True
    if isinstance(tree, Mapping):
        # All of them, so that every parameter is noted.
        inside = [_read_back(item, value[key], found) for key, item in tree.items() if key in value] if isinstance(value, Mapping) else []
        return isinstance(value, Mapping) and all(inside)
    if isinstance(tree, list):
        items = [_read_item(item, number, value, found) for number, item in enumerate(tree)] if isinstance(value, list) else []
        return isinstance(value, list) and all(items)
    return bool(tree == value)


def _note_option(dimension: Dimension, label: Scalar, option: Any, value: Any, found: dict[str, Any]) -> bool:
    inside: dict[str, Any] = {}
    if isinstance(option, Mapping) and isinstance(value, Mapping):
        # What names an option decides; other plain keys are the search's own.
        is_it = all(option.get(key) == value.get(key) for key in LABEL_KEYS if key in option)
        _read_back(option, value, inside)
    else:
        is_it = _read_back(option, value, inside)
    if is_it:
        found |= {dimension.name: label, **inside}
    return is_it


def _read_item(tree: Any, number: int, values: list[Any], found: dict[str, Any]) -> bool:
    """An item of a list has its counterpart by name, or by its place where it has none; one without stays to be drawn."""
    if not isinstance(tree, Mapping):
        return number < len(values) and _read_back(tree, values[number], found)
    named = [key for key in LABEL_KEYS if isinstance(tree.get(key), str)]
    counterparts = [one for one in values if isinstance(one, Mapping) and all(one.get(key) == tree[key] for key in named)]
    return bool(counterparts) and _read_back(tree, counterparts[0], found)


def possible_values(value: Any) -> Iterator[Any]:
    """All plain values that may come to stand in a place, lists by their items."""
    if isinstance(value, Mapping) and "search" in value:
        if value["search"] == "int":
            yield from range(value["low"], value["high"] + 1, value.get("step", 1))
        for option in value.get("of", ()):
            yield from possible_values(option)
    elif isinstance(value, list):
        for item in value:
            yield from possible_values(item)
    else:
        yield value


def find_mappings(value: Any, key: str) -> Iterator[Mapping[str, Any]]:
    """All mappings with a key, wherever they stand in a config."""
    if isinstance(value, Mapping):
        if key in value:
            yield value
        for item in value.values():
            yield from find_mappings(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from find_mappings(item, key)
