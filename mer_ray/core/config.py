"""Typed configs: YAML with dotted overrides in, frozen pydantic models out, and the identity of what they describe."""

import copy
import difflib
import hashlib
import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mer_ray.core.errors import ConfigError

# Keys that say which member of a family a mapping is.
DISCRIMINATORS = ("name", "verb", "kind")
NOT_IDENTITY = {"identity": False}

ConfigType = TypeVar("ConfigType", bound="Config")


@dataclass(frozen=True)
class _Place:
    """Marks a text that names a file or folder, or, where there is none of that name, something else."""

    or_name: bool


# A file or folder as text, because it may be a URL, or a name on a hub or of a kind.
Place = Annotated[str, _Place(or_name=False)]
PlaceOrName = Annotated[str, _Place(or_name=True)]


class Config(BaseModel):
    """Base of all configs: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="after")
    def _local_paths_are_no_urls(self) -> Self:
        # pathlib would make a folder named `s3:` of it.
        for name in type(self).model_fields:
            value = getattr(self, name)
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path) and re.match(r"[A-Za-z][A-Za-z0-9+]+:/", str(path)):
                    raise ValueError(f"{name}: a local path is needed, not the URL {str(path)!r}")
        return self

    def more_identity(self) -> dict[str, Any]:
        """What belongs to the identity beside the fields."""
        return {}


def find_places(config: BaseModel, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and text of every file or folder that a config names, nested configs included."""
    for name, field in type(config).model_fields.items():
        yield from _places_in(getattr(config, name), prefix + name, _mark_of(field) or _mark_of(field.annotation))
    # That of a plug-in, which its own field `config` holds as plain data.
    loaded = getattr(config, "loaded", None)
    if isinstance(loaded, BaseModel):
        yield from find_places(loaded, f"{prefix}config.")


def _places_in(value: Any, key: str, mark: _Place | None) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from find_places(value, f"{key}.")
    elif isinstance(value, Path) or (isinstance(value, str) and mark is not None and not (mark.or_name and _is_name(value))):
        yield key, str(value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _places_in(item, f"{key}.{name}", mark)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _places_in(item, f"{key}.{number}", mark)


def _is_name(text: str) -> bool:
    return not text.startswith(("/", ".", "~")) and "://" not in text and not Path(text).exists()


def _mark_of(annotation: Any) -> _Place | None:
    """The mark of a type, or of an argument of it."""
    marks = (*getattr(annotation, "__metadata__", ()), *getattr(annotation, "metadata", ()))
    inner = map(_mark_of, typing.get_args(annotation))
    return next((mark for mark in (*marks, *inner) if isinstance(mark, _Place)), None)


def where_or_how_fast(default: Any = ..., **field_options: Any) -> Any:
    """A field that says only where or how fast (paths, devices, budgets): it is no part of the identity."""
    return Field(default, json_schema_extra=dict(NOT_IDENTITY), **field_options)


def identity_fields(config: BaseModel) -> dict[str, Any]:
    """The fields of a config that decide what its artefact contains, nested configs included."""
    kept: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("identity") is False:
            continue
        kept[name] = _identity_value(getattr(config, name))
    return {**kept, **config.more_identity()} if isinstance(config, Config) else kept


def _identity_value(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return identity_fields(value)
    if isinstance(value, Mapping):
        return {str(key): _identity_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_identity_value(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def identity_of(config: BaseModel, **more: Any) -> str:
    """The sha256 (hex) of a config's identity fields and of `more`, e.g. a weights digest."""
    return digest_of({**identity_fields(config), **more})


def digest_of(value: Any) -> str:
    """The sha256 (hex) of a JSON-able value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# PyYAML lets the faults of what it builds through: dates and numbers that are none, unknown words after !!bool.
NOT_YAML = (yaml.YAMLError, ValueError, KeyError)


class _YamlLoader(yaml.CSafeLoader):
    """YAML says that keys are unique; PyYAML takes the last of two and says nothing."""

    def get_single_node(self) -> yaml.Node | None:
        """Look at the keys as they are written: those of a merge (`<<`) come later, and may be replaced."""
        root: yaml.Node | None = super().get_single_node()
        # A part that aliases name is there once, and may hold itself.
        left, seen = [root], set()
        while left:
            node = left.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                _refuse_doubled_keys(node)
                left.extend(part for pair in node.value for part in pair)
            elif isinstance(node, yaml.SequenceNode):
                left.extend(node.value)
        return root


def _refuse_doubled_keys(mapping: yaml.MappingNode) -> None:
    there = set()
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in there:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} is there twice", key.start_mark)
            there.add((key.tag, key.value))


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, _YamlLoader)  # noqa: S506 - a safe loader


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: no such file, not YAML, a key that is there twice, or not a mapping.

    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    try:
        data = _parse_yaml(path.read_text(encoding="utf-8"))
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys to values, this file holds {type(data).__name__}")
    return data


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set `key.sub=value` entries; values are read as YAML, list items are addressed by number (`encoders.0.name=hubert`).

    Raises:
        ConfigError: no `=`, or the path runs through something that is not a mapping or list.

    """
    result = dict(data)
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"override {override!r}: write key.sub=value")
        try:
            value = _parse_yaml(text) if text else None
        except NOT_YAML as error:
            raise ConfigError(f"override {override!r}: the value is not valid YAML: {' '.join(str(error).split())}") from error
        _set_path(result, dotted, value)
    return result


def _set_path(data: dict[str, Any], dotted: str, value: Any) -> None:
    target: Any = data
    *parents, last = dotted.split(".")
    # Parts on the way are copied: those that aliases share stay as they are elsewhere.
    for depth, key in enumerate(parents):
        if isinstance(target, dict):
            target[key] = copy.copy(target.get(key, {}))
            target = target[key]
        else:
            part = copy.copy(_list_item(target, key, ".".join(parents[:depth])))
            target[int(key)] = part
            target = part
    if isinstance(target, dict):
        target[last] = value
    else:
        _list_item(target, last, ".".join(parents))
        target[int(last)] = value


def _list_item(target: Any, key: str, parent: str) -> Any:
    if not isinstance(target, list):
        raise ConfigError(f"override {parent}.{key}: {parent} is {target!r}, which has no parts")
    if not target:
        raise ConfigError(f"override {parent}.{key}: {parent} is an empty list")
    if not key.isdecimal() or int(key) >= len(target):
        raise ConfigError(f"override {parent}.{key}: {parent} is a list of {len(target)}: write {parent}.0 to {parent}.{len(target) - 1}")
    return target[int(key)]


def parse_config(config_class: type[ConfigType], data: Mapping[str, Any], where: str, prefix: str = "") -> ConfigType:
    """Build a config; every fault of the data is named with its dotted path, what is allowed and the nearest name.

    `prefix` goes before the dotted paths where the data is a part of something, e.g. `steps.2.`.

    Raises:
        ConfigError: any fault; all of them in one message, a line each.

    """
    try:
        return config_class.model_validate(data)
    except ValidationError as error:
        faults = explain_faults(config_class, error)
        lines = [f"{path}: {what}" if path else what for path, what in faults]
        raise ConfigError("\n".join(f"{where}: {prefix}{line}" for line in lines)) from error


def explain_faults(config_class: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Every fault of the data as its dotted path (empty: of the whole) and what is wrong, unknown keys first."""
    faults = [dict(item) for item in error.errors(include_url=False)]
    return [_explain(config_class, fault) for fault in sorted(_causes(faults), key=lambda fault: fault["type"] != "extra_forbidden")]


def _causes(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what only follows: a list with a wrong item counts as too short."""
    places = [tuple(fault["loc"]) for fault in faults]
    return [
        fault
        for fault, place in zip(faults, places, strict=True)
        if fault["type"] != "too_short" or not any(other[: len(place)] == place and len(other) > len(place) for other in places)
    ]


def _explain(config_class: type[BaseModel], item: dict[str, Any]) -> tuple[str, str]:
    location = tuple(item["loc"])
    kind, context = item["type"], item.get("ctx", {})
    dotted = _dotted(config_class, location)
    if kind == "extra_forbidden":
        parent = _model_at(config_class, location[:-1])
        return dotted, f"unknown key{nearest(str(location[-1]), _keys(parent) if parent else [])}"
    if kind == "missing":
        return dotted, "required, but missing"
    if kind == "union_tag_invalid":
        allowed = [_unquoted(tag) for tag in context["expected_tags"].split(", ")]
        key = _unquoted(context["discriminator"])
        return f"{dotted}.{key}" if dotted else key, f"unknown choice {context['tag']!r}{nearest(context['tag'], allowed)}"
    if kind == "union_tag_not_found":
        return dotted, _lacking_tag(_unquoted(context["discriminator"]), item["input"], _union_tags(_annotation_at(config_class, location)))
    if kind == "literal_error":
        allowed = [_unquoted(word) for word in context["expected"].replace(" or ", ", ").split(", ")]
        return dotted, f"{item['input']!r} is not allowed{nearest(str(item['input']), allowed)}"
    if kind in ("tuple_type", "list_type"):
        return dotted, f"a list is needed, in brackets: [...], not {item['input']!r}"
    message = item["msg"].removeprefix("Value error, ")
    if kind.endswith("_parsing") or kind == "int_from_float":
        # What follows says the same again.
        message = message.partition(",")[0]
    shown = "" if kind == "value_error" or isinstance(item["input"], (dict, list)) else f", not {item['input']!r}"
    return dotted, f"{message[0].lower() + message[1:]}{shown}" if dotted else message


def _lacking_tag(key: str, given: Any, choices: Iterable[str]) -> str:
    mistyped = difflib.get_close_matches(key, [str(one) for one in given], n=1) if isinstance(given, Mapping) else []
    hint = f"; did you mean {key!r} by {mistyped[0]!r}?" if mistyped else "."
    return f"needs the key {key}{hint} Allowed: {', '.join(choices)}"


def _keys(config_class: type[BaseModel]) -> list[str]:
    """The keys as they are written."""
    return [field.alias or name for name, field in config_class.model_fields.items()]


def _unquoted(word: str) -> str:
    return word.strip().strip("'")


def nearest(word: str, allowed: Sequence[str]) -> str:
    """The end of a message about an unknown word: the nearest name, and all that are allowed."""
    if not allowed:
        return ""
    close = difflib.get_close_matches(word, allowed, n=1)
    return (f"; did you mean {close[0]!r}?" if close else ".") + f" Allowed: {', '.join(allowed)}"


def _dotted(config_class: type[BaseModel], location: tuple[str | int, ...]) -> str:
    """The path as the user wrote it: pydantic adds the tag of a union as a step of its own."""
    steps, annotation = [], typing.cast(Any, config_class)
    for step in location:
        if isinstance(step, str) and step in _union_tags(annotation):
            annotation = _union_tags(annotation)[step]
            continue
        steps.append(str(step))
        annotation = _step_into(annotation, step)
    return ".".join(steps)


def _model_at(config_class: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel] | None:
    models = _models_in(_annotation_at(config_class, location))
    return models[0] if models else None


def _annotation_at(config_class: type[BaseModel], location: tuple[str | int, ...]) -> Any:
    annotation: Any = config_class
    for step in location:
        tags = _union_tags(annotation)
        annotation = tags[step] if isinstance(step, str) and step in tags else _step_into(annotation, step)
    return annotation


def _step_into(annotation: Any, step: str | int) -> Any:
    for model in _models_in(annotation):
        if isinstance(step, str) and step in model.model_fields:
            field = model.model_fields[step]
            return typing.Annotated[field.annotation, field] if field.discriminator else field.annotation
    for part in (annotation, *_members(annotation)):
        arguments = typing.get_args(part)
        origin = typing.get_origin(part)
        if origin in (list, tuple, Sequence) and arguments:
            return arguments[0]
        if origin in (dict, Mapping) and len(arguments) == 2:
            return arguments[1]
    return None


def _members(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return [annotation]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    return [member for member in _members(annotation) if isinstance(member, type) and issubclass(member, BaseModel)]


def _union_tags(annotation: Any) -> dict[str, type[BaseModel]]:
    models = _models_in(annotation)
    tags: dict[str, type[BaseModel]] = {}
    for model in models if len(models) > 1 else []:
        for key in DISCRIMINATORS:
            field = model.model_fields.get(key)
            for tag in typing.get_args(field.annotation) if field else ():
                tags[str(tag)] = model
    return tags


def dump_yaml(config: BaseModel) -> str:
    """The resolved config as YAML, as `--print-config` shows it and as it lies beside every artefact."""
    return dump_plain(config.model_dump(mode="json"))


def dump_plain(value: Any) -> str:
    """Mappings, lists and scalars as YAML, keys in their order."""
    try:
        return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    except UnicodeEncodeError:
        # Of the two only the slow one writes names of files that are no text.
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
