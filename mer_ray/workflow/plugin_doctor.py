"""`mer-ray doctor --plugin FILE`: whether the models, encoders and corpora of a user's file keep their families' contracts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_ray.core.config import apply_overrides, nearest, parse_config
from mer_ray.core.contract import Check
from mer_ray.core.errors import ConfigError, ContractError, MerRayError
from mer_ray.core.plugin_file import PluginFile, foreign_code, read_plugin
from mer_ray.core.plugins import PluginConfig, plugins_allowed
from mer_ray.core.progress import track
from mer_ray.core.table import Table
from mer_ray.corpora.contract import CORPUS_CHECKS, CorpusSubject
from mer_ray.corpora.plugin import PluginCorpusConfig
from mer_ray.encoders.catalogue import encoder_classes
from mer_ray.encoders.contract import ENCODER_CHECKS, EncoderSubject
from mer_ray.encoders.contract_inputs import inputs_for
from mer_ray.encoders.plugin import PluginEncoderConfig
from mer_ray.models.contract import MODEL_CHECKS
from mer_ray.models.plugin import PluginModelConfig

KEPT, BROKEN, NOT_APPLICABLE = "kept", "BROKEN", "does not apply"


@dataclass(frozen=True)
class Family:
    """One kind of plug-in: the config that stands for it in ours, its checks, and what they examine."""

    word: str
    config_class: type[PluginConfig]
    checks: Sequence[Check[Any]]
    make_subject: Callable[[Any], Any]


FAMILIES = (
    Family("model", PluginModelConfig, MODEL_CHECKS, lambda config: config),
    Family("encoder", PluginEncoderConfig, ENCODER_CHECKS, lambda config: EncoderSubject(config, inputs_for(config.input_format))),
    Family("corpus", PluginCorpusConfig, CORPUS_CHECKS, CorpusSubject),
)


def examine_plugin(path: Path, overrides: Sequence[str], only: str | None = None) -> tuple[list[Table], bool]:
    """Run the contract checks of every config class in the file, or of `only` one; a table each, and whether all are kept.

    `overrides` are `key=value` for fields of the classes, whose defaults hold otherwise. The call is the permission to run the file.

    Raises:
        ConfigError: the file cannot be read or run, has no config class of a family, or the overrides do not fit its classes.

    """
    file = read_plugin(path)
    file.announce()
    found = [(family, name) for family in FAMILIES for name in file.find_classes(family.config_class.family)]
    if not found:
        wanted = ", ".join(f"{family.config_class.family.__name__} ({family.word})" for family in FAMILIES)
        raise ConfigError(f"{path}: defines no config class of a plug-in: a public, complete subclass of {wanted}")
    names = [name for _, name in found]
    if only is not None and only not in names:
        raise ConfigError(f"{path}: defines no config class {only!r}{nearest(only, names)}")
    chosen = [(family, name) for family, name in found if only in (None, name)]
    configs = [(family, _read_config(family, path, name, overrides)) for family, name in chosen]
    examined = [_examine(family, config, file) for family, config in configs]
    return [table for table, _ in examined], all(is_well for _, is_well in examined)


def _read_config(family: Family, path: Path, name: str, overrides: Sequence[str]) -> PluginConfig:
    values = apply_overrides({}, overrides)
    shared = {key: values.pop(key) for key in family.config_class.shared_fields if key in values}
    data = {"name": "plugin", "file": str(path), "class": name, "config": values, **shared}
    with plugins_allowed():
        try:
            return parse_config(family.config_class, data, name)
        except ConfigError as error:
            keys = str(error).replace(f"{name}: config.", f"{name}: ")
            raise ConfigError(f"{keys}\n{path}: give fields of {name} as key=value; --class NAME examines one class of several") from error


def _examine(family: Family, config: Any, file: PluginFile) -> tuple[Table, bool]:
    rows = []
    checks = [*family.checks, *([NAME_CHECK] if isinstance(config, PluginEncoderConfig) else [])]
    subject = _attempt(lambda: family.make_subject(config), file)
    with track(f"check {config.class_name}", len(checks), "checks") as bar:
        for check in checks:
            state, reason = _run(check, subject, file)
            rows.append((check.name, state, reason))
            bar.advance(note=check.name)
    num_broken = sum(state == BROKEN for _, state, _ in rows)
    verdict = "keeps its contract" if not num_broken else f"breaks {num_broken} of {len(rows)} promises"
    notes = (f"{config.class_name} {verdict}. In a config: {_usage(family, config)}, with allow_plugins: true",)
    return Table(f"{family.word} {config.class_name} of {config.file}", ("promise", "", "reason"), tuple(rows), notes), not num_broken


def _attempt(make: Callable[[], Any], file: PluginFile) -> Any:
    """What the checks examine; where the plug-in's code fails already, that error, for each of them to tell."""
    try:
        with foreign_code(file, "a property of the config"):
            return make()
    except MerRayError as error:
        return error


def _run(check: Check[Any], subject: Any, file: PluginFile) -> tuple[str, str]:
    if isinstance(subject, MerRayError):
        return BROKEN, str(subject)
    try:
        with foreign_code(file, "it"):
            reason = check.run(subject)
    except ContractError as error:
        return BROKEN, str(error)
    except MerRayError as error:
        return BROKEN, " ".join(str(error).split())
    return (KEPT, "") if reason is None else (NOT_APPLICABLE, reason)


def _check_name(subject: EncoderSubject) -> None:
    """Streams name encoders: two of one name could not be told apart."""
    taken = [config_class.model_fields["name"].default for config_class in encoder_classes()]
    if subject.config.stored_name in (*taken, "plugin"):
        raise ContractError(f"an encoder of the package is named {subject.config.stored_name!r} already; choose another name")


NAME_CHECK = Check("has a name of its own", _check_name)


def _usage(family: Family, config: PluginConfig) -> str:
    member = f"{{name: plugin, file: {config.file}, class: {config.class_name}}}"
    return f"encoders: [{member}]" if family.word == "encoder" else f"{family.word}: {member}"
