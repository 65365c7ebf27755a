"""The encoders that a bundle was trained on, built again from its own records."""

from collections.abc import Collection, Mapping

from pydantic import TypeAdapter, ValidationError

from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import Modality
from mer_ray.core.plugins import TAG, plugins_allowed, with_copies
from mer_ray.encoders import AnyEncoder, EncoderConfig, encoder_key
from mer_ray.prediction.bundle import Bundle
from mer_ray.store.record import EncoderRecord
from mer_ray.training.bundle_facts import PLUGINS_FOLDER

_ADAPTER: TypeAdapter[EncoderConfig] = TypeAdapter(AnyEncoder)


def bundle_encoders(
    bundle: Bundle, weights: Mapping[str, str], without: Collection[Modality], allow_plugins: bool
) -> dict[str, EncoderConfig]:
    """The configs by key, of all modalities but `without`; `weights` says where an encoder's weights lie here, by its name or key.

    Raises:
        ConfigError: weights for an encoder that the bundle does not have, weights that are missing or are not those that the
            bundle was trained on; a plug-in that was not allowed to run, or whose code fails.

    """
    records = bundle.facts.encoders
    unknown = [name for name in weights if not any(name in (record.name, record.key) for record in records.values())]
    if unknown:
        raise ConfigError(f"weights.{unknown[0]}: the bundle has no such encoder; it has {', '.join(records)}")
    configs = {}
    for key, record in records.items():
        if record.modality in without or is_imported(record):
            continue
        given = weights.get(key, weights.get(record.name))
        data = with_copies(record.config, bundle.folder / PLUGINS_FOLDER) | ({"weights": given} if given is not None else {})
        with plugins_allowed(allow_plugins):
            try:
                config = _ADAPTER.validate_python(data)
            except ValidationError as error:
                raise ConfigError(f"encoder {key}: {error.errors(include_url=False)[0]['msg'].removeprefix('Value error, ')}") from error
        config.check()
        if encoder_key(config) != key:
            raise ConfigError(
                f"encoder {record.name}: the bundle was trained on {key}, these weights or this version make {encoder_key(config)}; "
                f"give the weights of then with weights.{record.name}=PATH (sha256 {record.weights_digest})"
            )
        configs[key] = config
    return configs


def is_imported(record: EncoderRecord) -> bool:
    """Whether the features came from another toolkit, so that no code here makes them from files."""
    if record.config.get("name") == TAG:
        return False
    try:
        _ADAPTER.validate_python(record.config)
    except ValidationError:
        return True
    return False
