"""The encoders that a bundle was trained on, built again from its own records."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mer_ray.core.errors import ConfigError
from mer_ray.core.media_types import Modality
from mer_ray.core.plugins import TAG, plugins_allowed, with_copies
from mer_ray.encoders import AnyEncoder, EncoderConfig, encoder_key
from mer_ray.prediction.bundle import Bundle
from mer_ray.store.record import EncoderRecord
from mer_ray.training.bundle_facts import ADAPTERS_FOLDER, PLUGINS_FOLDER

# In `weights`: the detector's file, which is no encoder's own.
FACES = "faces"
_ADAPTER: TypeAdapter[EncoderConfig] = TypeAdapter(AnyEncoder)


def bundle_encoders(
    bundle: Bundle, weights: Mapping[str, str], without: Collection[Modality], allow_plugins: bool
) -> dict[str, EncoderConfig]:
    """The configs by key, of all modalities but `without`.

    `weights` says where an encoder's weights lie here, by its name or key, and with `faces` where the face detector does.

    Raises:
        ConfigError: weights for an encoder that the bundle does not have, weights that are missing or are not those that the
            bundle was trained on; a plug-in that was not allowed to run, or whose code fails.

    """
    records = bundle.facts.encoders
    allowed = [name for record in records.values() if _reads_weights(record) for name in (record.name, record.key)]
    allowed += [FACES] if any(_finds_faces(record) for record in records.values()) else []
    unknown = [name for name in weights if name not in allowed]
    if unknown:
        known = any(unknown[0] in (record.name, record.key) for record in records.values())
        what = "that encoder reads no weights" if known else f"the bundle has no such encoder; it has {', '.join(records)}"
        raise ConfigError(f"weights.{unknown[0]}: {what}. Allowed: {', '.join(dict.fromkeys(allowed)) or 'none'}")
    configs = {}
    for key, record in records.items():
        if record.modality in without or is_imported(record):
            continue
        given = weights.get(key, weights.get(record.name))
        data = with_copies(_with_weights(record.config, given), bundle.folder / PLUGINS_FOLDER)
        if str(data.get("adapter") or "").startswith(f"{ADAPTERS_FOLDER}/"):
            data |= {"adapter": str(bundle.folder / data["adapter"])}
        if FACES in weights and _finds_faces(record):
            data |= {"faces": record.config["faces"] | {"weights": weights[FACES]}}
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


def _reads_weights(record: EncoderRecord) -> bool:
    return "weights" in _own_config(record.config)


def _own_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a plug-in stand in its `config`."""
    return config["config"] if config.get("name") == TAG else config


def _with_weights(config: dict[str, Any], weights: str | None) -> dict[str, Any]:
    if weights is None:
        return config
    own = {**_own_config(config), "weights": weights}
    return {**config, "config": own} if config.get("name") == TAG else own


def _finds_faces(record: EncoderRecord) -> bool:
    return record.detects_faces and isinstance(record.config.get("faces"), dict)


def is_imported(record: EncoderRecord) -> bool:
    """Whether the features came from another toolkit, so that no code here makes them from files."""
    if record.config.get("name") == TAG:
        return False
    try:
        _ADAPTER.validate_python(record.config)
    except ValidationError:
        return True
    return False
