"""`{name: plugin, file: my_model.py, class: MyFusionConfig, config: {...}}`: a member of a family without editing the package.

It runs code of the user, so whoever reads such a config says `allow_plugins: true`; without it the file is not even opened. A plug-in
config that exists is one that was allowed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from mer_ray.core.config import Config, explain_faults, identity_fields, where_or_how_fast
from mer_ray.core.errors import ConfigError
from mer_ray.core.plugin_file import PluginFile, copied_name, read_plugin

TAG = "plugin"


@dataclass(frozen=True)
class _Reading:
    """What holds while configs are read: whether code may run (None: only what runs already), and the files read so far."""

    is_allowed: bool | None = None
    files: dict[Path, PluginFile] = field(default_factory=dict)


_reading: ContextVar[_Reading | None] = ContextVar("mer_ray_plugins", default=None)


@contextmanager
def _reading_with(reading: _Reading) -> Iterator[None]:
    token = _reading.set(reading)
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def plugins_allowed(is_allowed: bool = True) -> Iterator[None]:
    """Let plug-ins in configs that are read in the block run their code, or not; for configs that are no part of a `PluginHost`."""
    with _reading_with(_Reading(is_allowed)):
        yield


class PluginHost(Config):
    """Base of the configs that take members of families: `allow_plugins` lets those that are plug-ins run their code."""

    allow_plugins: bool = where_or_how_fast(False, strict=True)

    _plugin_files: dict[Path, PluginFile] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _judge_plugins(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, PluginHost):
            return handler(data)
        around = _reading.get() or _Reading()
        is_allowed = isinstance(data, Mapping) and data.get("allow_plugins") is True
        with _reading_with(_Reading(is_allowed, around.files)):
            host = handler(data)
        host._plugin_files = around.files
        return host

    @contextmanager
    def same_plugins(self) -> Iterator[None]:
        """Read configs that are derived from this one with the files that it was read with, changed or gone since."""
        with _reading_with(_Reading(None, self._plugin_files)):
            yield


class PluginConfig(Config):
    """A member of a family by the class of its config in a Python file; `config` holds the fields of that class.

    `sha256` of the file is filled in; given, it refuses any other file. `config` is filled up with the defaults of the class.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    # What the class must be a subclass of, and the fields that all of the family have: they stand beside `file`.
    family: ClassVar[type[Config]] = Config
    shared_fields: ClassVar[tuple[str, ...]] = ()

    name: Literal["plugin"] = "plugin"
    file: Path = where_or_how_fast()
    class_name: str = Field(alias="class", min_length=1)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    config: dict[str, Any] = where_or_how_fast({})

    _file: PluginFile = PrivateAttr()

    @model_validator(mode="after")
    def _load(self) -> Self:
        try:
            self._file = _read_allowed(self.file)
            if self.sha256 not in (None, self._file.sha256):
                raise ValueError(f"sha256: {self.file} has {self._file.sha256} now; take that file back, or leave sha256 out")
            self._file.announce()
            config_class = self._file.find_class(self.class_name, self.family)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        loaded = self._parse(config_class)
        # Frozen for all others, who see it complete.
        self.__dict__.update(
            {key: getattr(loaded, key) for key in self.shared_fields},
            sha256=self._file.sha256,
            config=loaded.model_dump(mode="json", exclude=set(self.shared_fields)),
            loaded=loaded,
        )
        return self

    def _parse(self, config_class: type[Config]) -> Config:
        misplaced = [key for key in self.shared_fields if key in self.config]
        if misplaced:
            raise ValueError(f"config.{misplaced[0]}: stands beside `file`, not in `config`: all members of the family have it")
        shared = {key: getattr(self, key) for key in self.shared_fields if key in self.model_fields_set}
        try:
            return config_class.model_validate({**self.config, **shared})
        except ValidationError as error:
            faults = [
                InitErrorDetails(
                    type=PydanticCustomError("value_error", "{what}", {"what": what}), loc=_place(path, self.shared_fields), input=None
                )
                for path, what in explain_faults(config_class, error)
            ]
            raise ValidationError.from_exception_data(config_class.__name__, faults) from error

    @property
    def plugin_file(self) -> PluginFile:
        """The file as it was read."""
        return self._file

    @cached_property
    def loaded(self) -> Config:
        """The config that the file's class makes of `config`.

        Raises:
            ConfigError: in another process than the one that read it: the code fails there.

        """
        config_class = self._file.find_class(self.class_name, self.family)
        return config_class.model_validate({**self.config, **{key: getattr(self, key) for key in self.shared_fields}})

    def more_identity(self) -> dict[str, Any]:
        """What decides of the loaded config; its fields on where and how fast do not."""
        return {"config": identity_fields(self.loaded)}

    def __getstate__(self) -> dict[Any, Any]:
        # Other processes do not know the module: they run the text that travels along.
        state = super().__getstate__()
        return {**state, "__dict__": {key: value for key, value in state["__dict__"].items() if key != "loaded"}}


def _place(path: str, shared: tuple[str, ...]) -> tuple[str, ...]:
    """Where the user wrote what the loaded class finds wrong."""
    steps = tuple(path.split(".")) if path else ()
    return steps if steps[:1] and steps[0] in shared else ("config", *steps)


def _read_allowed(path: Path) -> PluginFile:
    """The file, where its code may run.

    Raises:
        ConfigError: it may not, or cannot be read.

    """
    reading = _reading.get() or _Reading()
    refusal = f"runs code of {path}: set allow_plugins: true if you trust it"
    if reading.is_allowed is False:
        raise ConfigError(refusal)
    file = reading.files.get(path) or read_plugin(path)
    if reading.is_allowed is None and not file.is_running:
        raise ConfigError(refusal)
    reading.files[path] = file
    return file


def shown_name(member: Any) -> str:
    """What tables call a member of a family: its name, or the class of a plug-in."""
    return f"{member.class_name} of {member.file}" if isinstance(member, PluginConfig) else str(member.name)


def plugin_files(config: object) -> tuple[PluginFile, ...]:
    """The files of all plug-ins in a config and in what is nested in it, each content once."""
    return tuple({file.sha256: file for file in _walk(config)}.values())


def _walk(value: object) -> Iterator[PluginFile]:
    if isinstance(value, PluginHost):
        # Those of its candidates too, which are no configs yet.
        yield from value._plugin_files.values()
    elif isinstance(value, PluginConfig):
        yield value.plugin_file
        yield from _walk(value.loaded)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)


def with_copies(data: Any, folder: Path) -> Any:
    """A dumped config whose plug-ins are read from the copies that `PluginFile.write_to(folder)` made."""
    if isinstance(data, Mapping):
        moved = {key: with_copies(value, folder) for key, value in data.items()}
        if moved.get("name") == TAG and moved.get("sha256") and "file" in moved:
            moved["file"] = str(folder / copied_name(moved["sha256"], Path(moved["file"])))
        return moved
    return [with_copies(item, folder) for item in data] if isinstance(data, (list, tuple)) else data
